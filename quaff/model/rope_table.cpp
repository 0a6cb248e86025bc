#include "quaff/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quaff {

// Llama 3.1: wavelengths above original/low_freq_factor are stretched by `factor`. Those below
// original/high_freq_factor are kept. In between the two are blended, linearly in original/wavelength.
static float llama3_inv_freq(float inv_freq, const RopeConfig& rope) {
    const double original = static_cast<double>(rope.original_max_position_embeddings);
    const double wavelength = 2 * std::numbers::pi / inv_freq;
    if (wavelength < original / rope.high_freq_factor) return inv_freq;
    if (wavelength > original / rope.low_freq_factor) return static_cast<float>(inv_freq / rope.factor);
    const double kept = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    return static_cast<float>((1 - kept) * inv_freq / rope.factor + kept * inv_freq);
}

// YaRN: the pair that turns `turns` times over the original length, as a fraction of pairs.
static double yarn_pair(double turns, double rotary_dim, const RopeConfig& rope) {
    const auto original = static_cast<double>(rope.original_max_position_embeddings);
    return rotary_dim * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
}

static void blend_yarn(std::vector<float>& inv_freq, const RopeConfig& rope) {
    const auto rotary_dim = 2 * static_cast<double>(inv_freq.size());
    double low = yarn_pair(rope.beta_fast, rotary_dim, rope), high = yarn_pair(rope.beta_slow, rotary_dim, rope);
    if (rope.truncate) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, rotary_dim - 1);
    if (low == high) high += 0.001;
    const auto first = static_cast<float>(low), width = static_cast<float>(high - low);
    const auto factor = static_cast<float>(rope.factor);
    for (size_t k = 0; k < inv_freq.size(); k++) {  // in fp32, as transformers: 1 - a ramp near 1 is coarse
        const float kept = 1 - std::clamp((static_cast<float>(k) - first) / width, 0.0f, 1.0f);
        inv_freq[k] = inv_freq[k] / factor * (1 - kept) + inv_freq[k] * kept;
    }
}

RopeTable::RopeTable(const ModelConfig& config, int64_t max_sequence_length) {
    const RopeConfig& rope = config.rope;
    const int64_t rotary_dim = config.rotary_dim();
    columns_ = rotary_dim / 2;
    rows_ = max_sequence_length;
    attention_factor_ = static_cast<float>(rope.attention_factor);

    inv_freq_.resize(columns_);
    for (int64_t k = 0; k < columns_; k++)
        inv_freq_[k] = static_cast<float>(
            1.0 / std::pow(rope.theta, 2.0 * static_cast<double>(k) / static_cast<double>(rotary_dim)));

    switch (rope.type) {
        case RopeConfig::Type::standard:
            break;
        case RopeConfig::Type::linear:
            for (float& value : inv_freq_) value = static_cast<float>(value / rope.factor);
            break;
        case RopeConfig::Type::llama3:
            for (float& value : inv_freq_) value = llama3_inv_freq(value, rope);
            break;
        case RopeConfig::Type::yarn:
            blend_yarn(inv_freq_, rope);
            break;
        case RopeConfig::Type::longrope:
            original_length_ = rope.original_max_position_embeddings;
            if (max_sequence_length > original_length_) {
                long_begin_ = original_length_;
                rows_ = long_begin_ + max_sequence_length;
                long_inv_freq_ = inv_freq_;
                for (int64_t k = 0; k < columns_; k++) long_inv_freq_[k] /= static_cast<float>(rope.long_factor[k]);
            }
            for (int64_t k = 0; k < columns_; k++) inv_freq_[k] /= static_cast<float>(rope.short_factor[k]);
            break;
    }
}

void RopeTable::fill(Matrix<float> cos, Matrix<float> sin) const {
    const int64_t first = long_begin_ > 0 ? long_begin_ : rows_;
    fill_rows(cos.first_rows(first), sin.first_rows(first), inv_freq_);
    if (long_begin_ > 0)
        fill_rows(cos.rows_at(first, rows_ - first), sin.rows_at(first, rows_ - first), long_inv_freq_);
}

void RopeTable::fill_rows(Matrix<float> cos, Matrix<float> sin, const std::vector<float>& inv_freq) const {
    for (int64_t position = 0; position < cos.rows; position++) {
        for (int64_t k = 0; k < columns_; k++) {
            const float angle =
                static_cast<float>(position) * inv_freq[k];  // fp32 product, as transformers computes it
            cos(position, k) = attention_factor_ * std::cos(angle);
            sin(position, k) = attention_factor_ * std::sin(angle);
        }
    }
}

}  // namespace quaff
