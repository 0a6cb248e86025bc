#include "quaff/files/chat_settings.h"

#include <chrono>
#include <cstdio>
#include <string_view>

#include "llmc/core/error.h"

namespace quaff {

using namespace llmc;

namespace {

// A field that must be a string; "" if it is absent.
std::string text_of(const Json& object, const char* name, const std::string& where) {
    const auto field = object.find(name);
    if (field == object.end()) return "";
    require(field->is_string(), where, ".", name, " must be a string");
    return field->get<std::string>();
}

}  // namespace

std::optional<jinja::Date> parse_date(const std::string& text) {
    constexpr std::string_view kPattern = "0000-00-00";
    if (text.size() != kPattern.size()) return std::nullopt;
    for (size_t i = 0; i < text.size(); ++i)
        if (kPattern[i] == '-' ? text[i] != '-' : text[i] < '0' || text[i] > '9') return std::nullopt;
    const int year = std::stoi(text), month = std::stoi(text.substr(5)), day = std::stoi(text.substr(8));
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok() || year == 0) return std::nullopt;
    return jinja::Date{year, month, day};
}

std::string to_text(const jinja::Date& date) {
    char text[32];
    std::snprintf(text, sizeof text, "%04d-%02d-%02d", date.year, date.month, date.day);
    return text;
}

Json to_json(const ChatSettings& settings) {
    Json object = {{"template", settings.layout}};
    if (!settings.templates.empty()) {
        Json texts = Json::array();
        for (const TemplateText& text : settings.templates)
            texts.push_back({{"name", text.name}, {"jinja", text.jinja}});
        object["templates"] = std::move(texts);
    }
    if (settings.date) object["date"] = to_text(*settings.date);
    if (!settings.tools.is_null()) object["tools"] = settings.tools;
    object["loss_on"] = name_in(kLossOnNames, settings.loss_on);
    object["train_on_source"] = settings.train_on_source;
    if (!settings.data_format.empty()) object["data_format"] = settings.data_format;
    return object;
}

ChatSettings chat_settings_from_json(const Json& object, const std::string& where) {
    require(object.is_object(), where, " must be an object");
    ChatSettings settings;
    settings.layout = text_of(object, "template", where);
    require(!settings.layout.empty(), where, ".template is missing");
    if (const auto texts = object.find("templates"); texts != object.end()) {
        require(texts->is_array(), where, ".templates must be a list");
        for (const Json& text : *texts) {
            const std::string place = where + ".templates";
            require(text.is_object(), place, " must be a list of objects");
            settings.templates.push_back({text_of(text, "name", place), place, text_of(text, "jinja", place)});
        }
    }
    if (const std::string date = text_of(object, "date", where); !date.empty()) {
        settings.date = parse_date(date);
        require(settings.date.has_value(), where, ".date must be a day such as 2026-01-31");
    }
    if (const auto tools = object.find("tools"); tools != object.end()) {
        require(tools->is_array(), where, ".tools must be a list");
        settings.tools = *tools;
    }
    if (const auto field = object.find("train_on_source"); field != object.end()) {
        require(field->is_boolean(), where, ".train_on_source must be true or false");
        settings.train_on_source = field->get<bool>();
    }
    settings.data_format = text_of(object, "data_format", where);
    if (const std::string loss_on = text_of(object, "loss_on", where); !loss_on.empty()) {
        const auto known = value_in(kLossOnNames, loss_on);
        require(known.has_value(), where, ".loss_on must be all or last");
        settings.loss_on = *known;
    }
    return settings;
}

}  // namespace quaff
