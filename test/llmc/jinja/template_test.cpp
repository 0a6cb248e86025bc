// What holds of every template: places in errors, limits, one text for one input, threads.
#include "llmc/jinja/template.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "test/catch.h"
#include "test/files.h"

using namespace llmc;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::ordered_json;
using jinja::RenderOptions;
using jinja::Template;

namespace {

std::string render(const std::string& source, const Json& variables = Json::object(),
                   const RenderOptions& options = {}) {
    return Template::parse(source, "t.jinja").render(variables, options).text;
}

std::string error(const std::string& source, const Json& variables = Json::object(),
                  const RenderOptions& options = {}) {
    return test::error_of([&] { render(source, variables, options); });
}

std::string repeated(const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
}

}  // namespace

TEST_CASE("a template's error names the template, its line and column, and what to do", "[jinja]") {
    CHECK(error("{{ a.b }}") == "t.jinja:1:6: 'a' is undefined");
    CHECK(error("x\r\ny {{ 1 + 'a' }}") == "t.jinja:2:8: there is no int + str");
    CHECK(error("größe {{ 'ß' - 1 }}") == "t.jinja:1:14: there is no str - int");
    CHECK(error("\n\n{% for x in 5 %}{% endfor %}") == "t.jinja:3:13: a int cannot be walked over");
    CHECK(error("{% if x %}") == "t.jinja:1:11: the template ends before {% endif %}");
    CHECK(error("a\n{% endif %}") == "t.jinja:2:4: there is no tag 'endif', or nothing that it could end");
    CHECK(error("{{ x | nofilter }}") == "t.jinja:1:8: there is no filter 'nofilter'");
    CHECK(error("{{ 'a' is notest }}") == "t.jinja:1:11: there is no test 'notest'");
    CHECK(error("{{ (1 }}") == "t.jinja:1:7: here stands a '}' where ')' closes");
    CHECK(error("ab {{ 'x }}") == "t.jinja:1:7: the string is not closed");
    CHECK(error("{{ [1] | tojson(indent='') }}{{ x | tojson }}") ==
          "t.jinja:1:37: tojson cannot write a Undefined as JSON");
    CHECK(error("{% include 'x' %}") ==
          "t.jinja:1:4: 'include' asks for another template, and a chat template has none");
    CHECK(error("{{ [1] | map('string') }}") ==
          "t.jinja:1:10: a generator cannot be printed; put '| list' or '| join' behind the filter that made it");
    CHECK(error("{{ raise_exception('Roles must alternate: ' ~ 'é') }}") ==
          "t.jinja:1:4: the template refuses the conversation: Roles must alternate: é");
    CHECK(error("{{ l.append(1) }}", {{"l", {1}}}) ==
          "t.jinja:1:6: the attribute 'append' of a list is kept from templates");
    CHECK(error("{{ ''.__class__.__mro__ }}") ==
          "t.jinja:1:17: the attribute '__class__' of a str is kept from templates");
    CHECK(error("\xFF") == "t.jinja:1:1: the template is not UTF-8");
    CHECK(error("a\xED\xA0\x80") == "t.jinja:1:2: the template is not UTF-8");
    CHECK(error("x", Json::array()) == "t.jinja: the variables of a template are a JSON object");
}

TEST_CASE("a template cannot use more than it is allowed", "[jinja]") {
    const std::string loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    CHECK(RenderOptions().max_steps == 50'000'000);  // a second or two
    CHECK_THAT(error(loops, Json::object(), {.max_steps = 1000}), ContainsSubstring("1000 steps"));
    CHECK_THAT(error("{{ 'x' * 99999999999 }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ [0] * 99999999999 }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ 'x' | center(2 ** 40) }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ 'x'.ljust(2 ** 70) }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ [[1]] | tojson(indent=2 ** 40) }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ 'a\nb' | indent(2 ** 62) }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{{ [1] | batch(2 ** 40, 0) | list }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{% set x = 'x' * 2 ** 20 %}{{ x.replace('x', x) }}"), ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"),
               ContainsSubstring("512 MiB"));
    CHECK_THAT(error("{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}"), ContainsSubstring("64 MiB"));
    CHECK_THAT(error("{{ '%99999d' % 1 }}"), ContainsSubstring("too wide"));
    CHECK_THAT(error("{{ '%.99999f' % 1.5 }}"), ContainsSubstring("too large"));
    CHECK_THAT(error("{{ range(100001) }}"), ContainsSubstring("100000 items"));
    CHECK_THAT(error("{{ 2 ** 127 }}"), ContainsSubstring("128 bits"));
    CHECK_THAT(error(std::string(2 << 20, 'x')), ContainsSubstring("2097152 bytes, more than the 1048576"));
}

TEST_CASE("nothing that nests without end crashes", "[jinja]") {
    CHECK_THAT(error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), ContainsSubstring("nests more than 1000"));
    CHECK_THAT(error("{% set n = namespace() %}{% set n.n = n %}{{ n }}"), ContainsSubstring("nests more than 1000"));
    CHECK_THAT(
        error("{% set n = namespace(l=[]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}"),
        ContainsSubstring("nests more than 1000"));
    CHECK_THAT(error("{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}"),
               ContainsSubstring("nests more than 1000"));
    CHECK_THAT(error("{{ " + repeated("(", 500) + "1" + repeated(")", 500) + " }}"),
               ContainsSubstring("nested too deeply"));
    CHECK_THAT(error("{{ " + repeated("[", 500) + repeated("]", 500) + " }}"), ContainsSubstring("nested too deeply"));
    CHECK_THAT(error("{{ " + repeated("not ", 500) + "1 }}"), ContainsSubstring("nested too deeply"));
    CHECK_THAT(error("{{ " + repeated("- ", 500) + "1 }}"), ContainsSubstring("nested too deeply"));
    CHECK_THAT(error(repeated("{% if 1 %}", 500)), ContainsSubstring("nested too deeply"));
    CHECK_THAT(error("{{ 1" + repeated(" + 1", 5000) + " }}"), ContainsSubstring("too many parts"));
    CHECK_THAT(error("{{ x" + repeated(".a", 5000) + " }}"), ContainsSubstring("too many parts"));
    CHECK_THAT(error("{{ x" + repeated("|list", 5000) + " }}"), ContainsSubstring("too many parts"));
    // Long, but not deep.
    CHECK(render("{{ 'a'" + repeated(" ~ 'a'", 5000) + " }}").size() == 5001);
    CHECK(render("{% if 0 %}" + repeated("{% elif 0 %}", 5000) + "{% else %}b{% endif %}") == "b");
    // Iterators that walk over iterators, and tuples in tuples as keys.
    const auto chained = [](const std::string& filter) {
        return "{% set n = namespace(x=['a']) %}{% for i in range(1500) %}{% set n.x = n.x | " + filter +
               " %}{% endfor %}{{ n.x | list }}";
    };
    CHECK_THAT(error(chained("map('trim')")), ContainsSubstring("nests more than 1000"));
    CHECK_THAT(error(chained("slice(1)")), ContainsSubstring("nests more than 1000"));
    for (const char* use : {"{{ {}[n.x] }}", "{{ {n.x: 1} }}"})
        CHECK_THAT(
            error(concat("{% set n = namespace(x=()) %}{% for i in range(1500) %}{% set n.x = (n.x,) %}{% endfor %}",
                         use)),
            ContainsSubstring("nests more than 1000"));
    Json deep = 1;
    for (int i = 0; i < 2000; ++i) deep = Json::array({std::move(deep)});
    CHECK_THAT(error("x", {{"deep", std::move(deep)}}), ContainsSubstring("nests more than 1000"));
}

TEST_CASE("a template's work counts by its size", "[jinja]") {
    const RenderOptions few = {.max_steps = 100'000};
    // A tuple that holds itself twice, 64 times over, has 2^64 parts.
    for (const char* use : {"{{ {}[n.x] }}", "{{ {n.x: 1} }}"})
        CHECK_THAT(
            error(concat("{% set n = namespace(x=()) %}{% for i in range(64) %}{% set n.x = (n.x, n.x) %}{% endfor %}",
                         use),
                  Json::object(), few),
            ContainsSubstring("100000 steps"));
    // A thousand looks at a text of 100 KB.
    for (const char* use : {"s.strip()", "s.center(1)", "s.zfill(1)", "s.removeprefix('x')", "s.find('x')",
                            "s.startswith('x')", "s | trim", "s | e", "s | indent", "s is upper", "s is sameas 'x'",
                            "{}[s]", "[s] | map('length') | list", "'x'.find(s)"})
        CHECK_THAT(error(concat("{% set s = ' ' * 100000 %}{% for i in range(1000) %}{% if ", use,
                                " %}{% endif %}{% endfor %}"),
                         Json::object(), few),
                   ContainsSubstring("100000 steps"));
    // A thousand entries into a scope of a thousand names.
    std::string names;
    for (int i = 0; i < 1000; ++i) names += concat("{% set a", i, " = 1 %}");
    CHECK_THAT(error("{% for i in range(1000) %}{% if 0 %}" + names + "{% endif %}{% endfor %}", Json::object(), few),
               ContainsSubstring("100000 steps"));
}

TEST_CASE("no input makes a search slow", "[jinja]") {
    // A search that compares at each place would take 4e10 comparisons.
    const std::string texts = "{% set whole = 'a' * 400000 %}{% set part = 'a' * 200000 ~ 'b' %}";
    CHECK(
        render(texts +
               "{{ part in whole }} {{ whole.find(part) }} {{ whole.count(part) }} {{ whole.split(part) | length }}") ==
        "False -1 0 1");
    CHECK(render(texts + "{{ whole.partition(part)[1] }}{{ whole.replace(part, '') | length }}") == "400000");
    // These do compare at each place, and say so.
    for (const char* use :
         {"whole.rfind('b' ~ part)", "whole.rsplit(part)", "whole.rpartition(part)", "whole.strip(part)"})
        CHECK_THAT(error(concat(texts, "{{ ", use, " }}")), ContainsSubstring("50000000 steps"));
    // Keys whose low bits are equal.
    CHECK(render("{{ dict(range(0, 100000 * 2 ** 32, 2 ** 32) | batch(2)) | length }}", Json::object(),
                 {.max_steps = 2'000'000}) == "50000");
}

TEST_CASE("what a text is taken apart into counts as memory", "[jinja]") {
    for (const char* use : {"split()", "rsplit()", "split(' ')", "rsplit(' ')"})
        CHECK_THAT(
            error(concat("{{ ('a ' * 100000).", use, " | length }}"), Json::object(), {.max_value_bytes = 1 << 20}),
            ContainsSubstring("1 MiB"));
    CHECK_THAT(error("{{ ('\n' * 100000).splitlines() | length }}", Json::object(), {.max_value_bytes = 1 << 20}),
               ContainsSubstring("1 MiB"));
    CHECK_THAT(error("{{ ('<' * 300000) | e | length }}", Json::object(), {.max_value_bytes = 1 << 20}),
               ContainsSubstring("1 MiB"));
    CHECK(render("{{ ('aé' * 100000)[::-1] | length }}", Json::object(), {.max_value_bytes = 1 << 20}) == "200000");
}

TEST_CASE("a long template is parsed in linear time", "[jinja]") {
    CHECK(render("{{ " + repeated("'a' ", 100000) + "}}").size() == 100000);
    CHECK_THAT(error("{{ x | " + repeated("a.", 100000) + "b }}"), ContainsSubstring("there is no filter 'a.a."));
    std::string parameters, named;
    for (int i = 0; i < 256; ++i) {
        parameters += concat("p", i, ", ");
        named += concat("p", i, "=1, ");
    }
    CHECK_THAT(error("{% macro m(" + parameters + "q) %}{% endmacro %}"),
               ContainsSubstring("more than 255 parameters"));
    CHECK_THAT(error("{{ dict(" + named + "q=1) }}"), ContainsSubstring("more than 255 named arguments"));
}

TEST_CASE("a slice of a slice of a range is a range", "[jinja]") {
    CHECK(render("{% set n = namespace(r=range(1)) %}{% for i in range(130) %}{% set n.r = n.r[::-2] %}{% endfor %}"
                 "{{ n.r | length }} {{ n.r | list }}") == "1 [0]");
    CHECK(render("{% set n = namespace(r=range(0)) %}{% for i in range(130) %}{% set n.r = n.r[::2] %}{% endfor %}"
                 "{{ n.r | length }}") == "0");
}

TEST_CASE("the largest numbers overflow nothing", "[jinja]") {
    CHECK(render("{{ 5 | round(-(2 ** 126) * 2) }} {{ 1.5 | round(2 ** 126) }} {{ 1.5 | round(-(2 ** 126)) }}") ==
          "0 1.5 0.0");
    CHECK_THAT(error("{{ '%*d' % (-(2 ** 126) * 2, 1) }}"), ContainsSubstring("width in the format is too large"));
}

TEST_CASE("what no chat template needs is refused by its name", "[jinja]") {
    const std::string rest = " is not known here, as no chat template needs it; write the template without it";
    CHECK(error("a {{ '<p>' | striptags }}") == "t.jinja:1:14: the filter 'striptags'" + rest);
    CHECK(error("{{ ['a'] | map('urlize') | list }}") == "t.jinja:1:28: the filter 'urlize'" + rest);
    CHECK(error("{{ 'a'.translate({}) }}") == "t.jinja:1:8: the method of str 'translate'" + rest);
    CHECK(error("{{ 'a'.translate }}") == "t.jinja:1:8: the method of str 'translate'" + rest);
    CHECK(error("{{ 5 .real }}") == "t.jinja:1:7: the method of int 'real'" + rest);
    CHECK(error("{{ 'a' is filter }}") == "t.jinja:1:11: the test 'filter'" + rest);
    CHECK(error("{{ cycler(1) }}") == "t.jinja:1:4: the function 'cycler'" + rest);
    CHECK(error("{% block a %}{% endblock %}") ==
          "t.jinja:1:4: the tag 'block' is not known here, as no chat template needs it; write what stands in it "
          "without the tag");
    CHECK_THAT(error("{{ self.a() }}"), ContainsSubstring("the name 'self' stands for a template's blocks"));
    CHECK_THAT(error("{{ '{:z.1f}'.format(1.5) }}"), ContainsSubstring("the option 'z' of a format"));
    CHECK_THAT(error("{{ '%c' % 55296 }}"), ContainsSubstring("no character has the number 55296"));
    for (const char* format : {"%Ey", "%10Y", "%Q", "%s"})
        CHECK_THAT(error(concat("{{ strftime_now('", format, "') }}")),
                   ContainsSubstring("write a conversion such as %Y"));
}

TEST_CASE("an error names the method that was called", "[jinja]") {
    CHECK(error("{{ 'a'.rindex('b') }}") == "t.jinja:1:8: rindex: the substring is not there");
    CHECK(error("{{ 'a'.rfind(1) }}") == "t.jinja:1:8: rfind needs a str, not a int");
    CHECK(error("{{ 'a'.lstrip(1) }}") == "t.jinja:1:8: lstrip needs a str, not a int");
    CHECK(error("{{ 'a'.rpartition('') }}") == "t.jinja:1:8: rpartition needs a separator that is not empty");
}

TEST_CASE("adding to a text piece by piece takes memory for one text", "[jinja]") {
    // 100 KB in 10,000 pieces: one copy each would be 500 MB.
    const std::string source =
        "{% set n = namespace(x='') %}{% for i in range(10000) %}{% set n.x = n.x ~ '0123456789' %}{% endfor %}{{ n.x "
        "| length }}";
    CHECK(render(source, Json::object(), {.max_value_bytes = 4 << 20}) == "100000");
}

TEST_CASE("the date is the one that is asked for", "[jinja]") {
    CHECK(render("{{ strftime_now('%d %b %Y, %A, day %j') }}", Json::object(), {.date = jinja::Date{2024, 2, 29}}) ==
          "29 Feb 2024, Thursday, day 060");
    CHECK(render("{{ strftime_now('%Y') | int > 2020 }}") == "True");
    CHECK_THAT(error("{{ strftime_now(1) }}"), ContainsSubstring("needs a str"));
}

TEST_CASE("a template is one whose generation blocks mark something, or not", "[jinja]") {
    CHECK(Template::parse("{% if 0 %}{%- generation -%}x{%- endgeneration -%}{% endif %}", "t").marks_generation());
    CHECK_FALSE(Template::parse("{{ 'generation' }}{# {% generation %} #}", "t").marks_generation());
}

TEST_CASE("strings that are no UTF-8 pass through a template", "[jinja]") {
    const Json variables = {{"x", "a\xFF\xC3"}};
    CHECK(render("{{ x }}", variables) == "a\xFF\xC3");
    CHECK(render("{{ x | length }}{{ x | reverse | length }}{{ x[1:] | length }}", variables) == "332");
    CHECK(render("{{ x | upper }}", variables) == "A\xFF\xC3");
}

TEST_CASE("several threads render one template", "[jinja]") {
    const Template shared = Template::parse(
        "{% macro m(x) %}{{ x | upper }}{% endmacro %}{% for i in range(200) %}{{ m(name) ~ i | string }}{% endfor %}",
        "t");
    const std::string once = shared.render({{"name", "ä"}}).text;
    std::vector<std::string> texts(4);
    std::vector<std::thread> threads;
    for (std::string& text : texts)
        threads.emplace_back([&text, copy = shared] { text = copy.render({{"name", "ä"}}).text; });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& text : texts) CHECK(text == once);
}
