#include "quaff/run/chat.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <vector>

#include "llmc/chat/named_layouts.h"
#include "llmc/core/error.h"
#include "llmc/data/formats/format.h"
#include "llmc/io/file_io.h"

namespace quaff {

namespace fs = std::filesystem;

namespace {

jinja::Date today() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    constexpr int kFirstYear = 1900;
    return {local.tm_year + kFirstYear, local.tm_mon + 1, local.tm_mday};
}

bool is_file(const std::string& layout) {
    return layout.ends_with(".jinja");
}

std::string layout_names() {
    std::string names;
    for (const NamedLayout& layout : named_layouts()) names += concat(names.empty() ? "" : ", ", layout.name);
    return names;
}

// "--template chatml: the adapter out/adapter was trained with auto; leave --template out to keep that"
void tell_difference(const std::string& option, const std::string& trained, const ChatOfAdapter& adapter,
                     Terminal& terminal) {
    terminal.warn(concat(option, ": the adapter ", adapter.folder, " was trained with ", trained, "; leave ",
                         option.substr(0, option.find(' ')), " out to keep that"));
}

std::string in_words(const ChatSettings& settings) {
    if (!settings.lays_out()) return "texts as they are";
    if (settings.layout == kOwnTemplate) return "its model's chat template";
    return (is_file(settings.layout) ? "the template " : "the layout ") + settings.layout;
}

// The template's place in the model's folder, without the folder: "tokenizer_config.json: field "chat_template"".
std::string short_place(const TemplateText& text, const std::string& folder) {
    std::string place = text.where;
    if (place.starts_with(folder)) place.erase(0, folder.size());
    place.erase(0, std::min(place.find_first_not_of('/'), place.size()));
    return place.substr(0, place.find(": "));
}

}  // namespace

bool is_template_choice(const std::string& value) {
    return value == kNoTemplate || value == kOwnTemplate || is_file(value) || find_named_layout(value) != nullptr;
}

std::string template_choices() {
    return concat("auto, none, a file that ends in .jinja, or one of ", layout_names());
}

Json read_tools(const std::string& file) {
    Json tools = parse_ordered_json(read_file(file), file);
    const auto is_tool = [](const Json& tool) { return tool.is_object(); };
    require(tools.is_array() && std::ranges::all_of(tools, is_tool), file,
            ": must hold a JSON list of tools, each an object");
    return tools;
}

Chat::Chat(const Options& options, const ChatOfAdapter& adapter, const Tokenizer* tokenizer, int32_t eos_id,
           Terminal& terminal) {
    choose_template(options, adapter, terminal);
    choose_rest(options, adapter, terminal);
    build(options, tokenizer, eos_id, terminal);
}

void Chat::choose_template(const Options& options, const ChatOfAdapter& adapter, Terminal& terminal) {
    std::optional<std::string> wanted = options.data.chat_template;
    if (!wanted && options.generation.chat) wanted = kOwnTemplate;
    const std::optional<ChatSettings>& trained = adapter.settings;
    const bool resumes = !options.training.resume.empty();  // a run keeps to the layout it began with
    if (trained && (resumes || !wanted || *wanted == trained->layout)) {
        settings_.layout = trained->layout;
        settings_.templates = trained->templates;
        name_ = concat("the template that ", adapter.folder, " was trained with");
        tell_change(options.model.folder, adapter, terminal);
    } else {
        settings_.layout = wanted.value_or(kOwnTemplate);
        if (settings_.layout == kOwnTemplate) take_own_template(options);
        if (is_file(settings_.layout)) settings_.templates = read_template_file(settings_.layout);
        if (trained && settings_.layout != trained->layout)
            tell_difference(options.data.chat_template ? "--template " + *wanted : "--chat", in_words(*trained),
                            adapter, terminal);
    }
    if (find_named_layout(settings_.layout)) name_ = "the layout " + settings_.layout;
    if (is_file(settings_.layout)) name_ = settings_.layout;
    if (!settings_.lays_out() && why_none_.empty()) {
        passes_over_own_ = !read_model_templates(options.model.folder).empty();
        why_none_ =
            concat("--template none leaves texts as they are. Set --template to auto or one of ", layout_names(), ".");
    }
}

// The template may have changed since the adapter was trained with it.
void Chat::tell_change(const std::string& model, const ChatOfAdapter& adapter, Terminal& terminal) const {
    const bool is_own = settings_.layout == kOwnTemplate;
    if (!is_own && !(is_file(settings_.layout) && fs::exists(settings_.layout))) return;
    const std::vector<TemplateText> now = is_own ? read_model_templates(model) : read_template_file(settings_.layout);
    if (now == settings_.templates) return;
    terminal.warn(concat(is_own ? model + ": its chat template" : settings_.layout + ": this template",
                         " is not the one that ", adapter.folder, " was trained with, which is used"));
}

// The model's own template; none where the model has none and nobody asked for it.
void Chat::take_own_template(const Options& options) {
    const std::string& folder = options.model.folder;
    settings_.templates = read_model_templates(folder);
    if (!settings_.templates.empty()) {
        name_ = concat("the model's chat template (", short_place(settings_.templates.front(), folder), ")");
        return;
    }
    settings_.layout = kNoTemplate;
    why_none_ = concat(folder,
                       ": the model has no chat template (neither chat_template.jinja nor a field \"chat_template\" in "
                       "tokenizer_config.json). Set --template to one of ",
                       layout_names(), ", or to a file that ends in .jinja.");
    require(!options.generation.chat, why_none_);
}

void Chat::choose_rest(const Options& options, const ChatOfAdapter& adapter, Terminal& terminal) {
    const ChatSettings trained = adapter.settings.value_or(ChatSettings());
    const bool resumes = adapter.settings && !options.training.resume.empty();
    settings_.tools = resumes || options.data.tools.empty() ? trained.tools : read_tools(options.data.tools);
    settings_.train_on_source = options.data.train_on_source.value_or(trained.train_on_source);
    settings_.data_format =
        options.data.format.value_or(trained.data_format.empty() ? kFormatOfColumns : trained.data_format);
    settings_.date = options.data.date.empty() ? trained.date : parse_date(options.data.date);
    settings_.loss_on = options.data.loss_on.value_or(trained.loss_on);
    if (!adapter.settings) return;
    if (settings_.tools != trained.tools)
        tell_difference("--tools " + options.data.tools, trained.tools.is_null() ? "none" : "others", adapter,
                        terminal);
    if (trained.date && to_text(*settings_.date) != to_text(*trained.date))
        tell_difference("--date " + options.data.date, "that of " + to_text(*trained.date), adapter, terminal);
    if (settings_.train_on_source != trained.train_on_source)
        terminal.warn(concat(adapter.folder, " was trained ", trained.train_on_source ? "with" : "without",
                             " --train-on-source; the loss counts other tokens now"));
    if (settings_.data_format != trained.data_format && !trained.data_format.empty())
        tell_difference("--data-format " + settings_.data_format, trained.data_format, adapter, terminal);
    if (settings_.loss_on != trained.loss_on)
        tell_difference(concat("--loss-on ", name_in(kLossOnNames, settings_.loss_on)),
                        name_in(kLossOnNames, trained.loss_on), adapter, terminal);
}

void Chat::build(const Options& options, const Tokenizer* tokenizer, int32_t eos_id, Terminal& terminal) {
    if (!settings_.lays_out() && !options.data.tools.empty())
        terminal.warn("--tools has no effect: no chat template lays the texts out");
    if (!settings_.lays_out() || !tokenizer) return;
    const NamedLayout* layout = find_named_layout(settings_.layout);
    if (layout && settings_.tools.is_array() && !settings_.tools.empty())
        throw UsageError(concat("--tools: ", name_, " has no place for tools; take a template that has one"));
    TemplateContext context;
    context.special_tokens = read_special_tokens(options.model.folder);
    context.tools = settings_.tools;
    context.date = settings_.date;
    const auto make = [&] {
        return layout ? ChatTemplate::named(settings_.layout, context) : ChatTemplate(settings_.templates, context);
    };
    template_ = std::make_unique<ChatTemplate>(make());
    if (template_->uses_date() && !settings_.date) {
        settings_.date = context.date = today();
        *template_ = make();
        terminal.line(concat("the chat template writes today's date, ", to_text(*settings_.date),
                             "; --date YYYY-MM-DD fixes another"));
    }
    if (!template_->uses_date() && !options.data.date.empty())
        terminal.warn("--date has no effect: the chat template does not ask for the day");
    if (layout) {
        std::string unknown;
        for (const std::string_view marker : layout->markers)
            if (!tokenizer->token_id(marker)) unknown += concat(unknown.empty() ? "" : ", ", marker);
        if (!unknown.empty())
            terminal.warn(concat("--template ", layout->name, ": ", unknown,
                                 " of this layout is no token of the model, which reads it letter by letter"));
    }
    encoder_.emplace(*template_, *tokenizer, eos_id, settings_.loss_on);
}

}  // namespace quaff
