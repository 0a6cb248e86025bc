// How the texts of a run are laid out for the model, as quaff.json keeps it, so that an adapter is evaluated and asked
// as it was trained:
//
//   {"template": "auto", "templates": [{"name": "default", "jinja": "{% for .."}], "date": "2026-01-31",
//    "tools": [..], "loss_on": "all", "train_on_source": false, "data_format": "auto"}
//
// "template" is none, auto (the model's own), the name of a layout, or somebody's file. The texts of the model's own
// and of a file are kept, for these files may change.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "llmc/chat/chat_encoder.h"
#include "llmc/chat/template_texts.h"
#include "llmc/jinja/template.h"

namespace quaff {

// Values of `layout` that name no layout: texts as they are, and the template that the model comes with.
inline constexpr const char *kNoTemplate = "none", *kOwnTemplate = "auto";

struct ChatSettings {
    std::string layout = kNoTemplate;
    std::vector<llmc::TemplateText> templates;  // of the model or a file; else empty
    std::optional<llmc::jinja::Date> date;      // today, for templates that ask
    llmc::Json tools;                           // of conversations without their own; null: none
    llmc::LossOn loss_on = llmc::LossOn::all;
    bool train_on_source = false;  // the loss counts all text
    std::string data_format;       // as it was asked for; empty: not known

    // Whether anything but plain text is made.
    bool lays_out() const { return layout != kNoTemplate; }
};

// "2026-01-31"; nothing for a text that is no day.
std::optional<llmc::jinja::Date> parse_date(const std::string& text);
std::string to_text(const llmc::jinja::Date& date);

llmc::Json to_json(const ChatSettings& settings);
// `object` as to_json() wrote it. `where`, its file and field, begins every error.
ChatSettings chat_settings_from_json(const llmc::Json& object, const std::string& where);

}  // namespace quaff
