#include "llmc/tokenizer/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "llmc/core/error.h"
#include "llmc/core/utf8.h"

namespace llmc {

namespace {

bool is_ascii(char byte) {
    return static_cast<uint8_t>(byte) < 0x80;
}

// Rewrites the characters for which `map`, given the code point, sets its string and returns true.
template <class Map>
void map_characters(AlignedText& text, const Map& map) {
    const std::string_view from = text.text();
    Rewriter to(text);
    size_t kept = 0;  // where the stretch of unchanged characters begins
    std::string mapped;
    for (size_t at = 0; at < from.size();) {
        const size_t length = utf8_sequence(from.substr(at)).length;
        if (map(utf8_code_point(from.substr(at, length)), mapped)) {
            to.keep(kept, at);
            to.put(mapped, at);
            kept = at + length;
        }
        at += length;
    }
    if (kept == 0) return;
    to.keep(kept, from.size());
    to.finish();
}

// A character of the text being built. As in the alignments of Hugging Face's tokenizers, `change` says what it does to
// the characters of the source: 0 takes the place of the next one, 1 is one more beside the last, and -n takes the
// place of the next one and swallows the n behind it.
struct Unit {
    char32_t code_point;
    int combining_class;
    int change;
};

int combining_class(char32_t code_point) {
    return utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point))->combining_class;
}

// The character that the two compose, or 0.
char32_t composition(char32_t first, char32_t second) {
    utf8proc_int32_t pair[] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
    constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return utf8proc_normalize_utf32(pair, 2, kOptions) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

// Sorts each run of marks by combining class, equals as they come.
void order_marks(std::vector<Unit>& units) {
    for (auto begin = units.begin(); begin != units.end();) {
        const auto is_mark = [](const Unit& unit) { return unit.combining_class != 0; };
        begin = std::find_if(begin, units.end(), is_mark);
        const auto end = std::find_if_not(begin, units.end(), is_mark);
        std::ranges::stable_sort(begin, end, {}, &Unit::combining_class);
        begin = end;
    }
}

void append_decomposed(std::vector<Unit>& units, char32_t character, bool compatible) {
    constexpr int kLongest = 18;  // U+FDFA
    utf8proc_int32_t parts[kLongest];
    int boundary = 0;
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(character), parts, kLongest, options, &boundary);
    require(count > 0 && count <= kLongest, "The Unicode library cannot decompose the character ",
            static_cast<uint32_t>(character), ".");
    for (int i = 0; i < count; ++i) {
        const auto part = static_cast<char32_t>(parts[i]);
        units.push_back({part, combining_class(part), i > 0});
    }
}

// Composes each starter (class 0) with what follows it and is not blocked from it by a mark of the same or a higher
// class.
void compose(std::vector<Unit>& units) {
    size_t size = 0;  // of what is done, at the front
    size_t starter = SIZE_MAX;
    int last_class = 0;  // of the mark that stands last behind the starter; 0: none
    for (const Unit& unit : units) {
        const bool blocked = last_class != 0 && last_class >= unit.combining_class;
        const char32_t composed =
            starter == SIZE_MAX || blocked ? 0 : composition(units[starter].code_point, unit.code_point);
        if (composed != 0) {
            units[starter].code_point = composed;
            units[starter].change += unit.change - 1;
            continue;
        }
        if (unit.combining_class == 0) starter = size;
        last_class = unit.combining_class;
        units[size++] = unit;
    }
    units.resize(size);
}

// Writes the units that the characters [begin, end) have become.
void write_units(Rewriter& to, const std::vector<Unit>& units, std::string_view from, size_t begin, size_t end) {
    const auto next = [&](size_t at) { return at < end ? at + utf8_sequence(from.substr(at)).length : at; };
    std::string bytes;
    size_t source = begin;  // the character whose place is taken next
    for (const auto& [code_point, combining_class, change] : units) {
        bytes.clear();
        append_utf8(bytes, code_point);
        if (change > 0) {
            to.put(bytes, source > 0 ? source - 1 : Rewriter::kNowhere);
            continue;
        }
        to.put(bytes, std::min(source, end - 1));
        for (int taken = change; taken <= 0; ++taken) source = next(source);
    }
}

}  // namespace

double growth_of(NormalForm form) {
    return form == NormalForm::nfc || form == NormalForm::nfd ? 3 : 11;
}

// ASCII is in every normal form, nothing composes with ASCII behind it, and only the last ASCII character before
// another may compose with what follows. So the text is worked on in runs that begin at such a character.
void to_normal_form(AlignedText& text, NormalForm form) {
    const std::string_view from = text.text();
    Rewriter to(text);
    std::vector<Unit> units;
    size_t done = 0;
    for (size_t at = 0; at < from.size();) {
        const auto other = std::find_if_not(from.begin() + at, from.end(), is_ascii);
        if (other == from.end()) break;
        size_t begin = other - from.begin();
        const size_t end = std::find_if(other, from.end(), is_ascii) - from.begin();
        if (begin > done) --begin;
        units.clear();
        for (at = begin; at < end;) {
            const size_t length = utf8_sequence(from.substr(at)).length;
            append_decomposed(units, utf8_code_point(from.substr(at, length)), form >= NormalForm::nfkc);
            at += length;
        }
        order_marks(units);
        if (form == NormalForm::nfc || form == NormalForm::nfkc) compose(units);
        to.keep(done, begin);
        write_units(to, units, from, begin, end);
        done = end;
    }
    if (done == 0) return;
    to.keep(done, from.size());
    to.finish();
}

void to_lower_case(AlignedText& text) {
    map_characters(text, [](char32_t c, std::string& mapped) {
        if (c < 0x80 && (c < 'A' || c > 'Z')) return false;
        const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
        if (lower == c) return false;
        mapped.clear();
        append_utf8(mapped, lower);
        if (c == 0x130) append_utf8(mapped, 0x307);
        return true;
    });
}

void drop_marks(AlignedText& text) {
    map_characters(text, [](char32_t c, std::string&) {
        if (c < 0x80) return false;
        const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
        return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
    });
}

}  // namespace llmc
