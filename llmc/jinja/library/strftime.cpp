#include <array>
#include <ctime>

#include "llmc/jinja/library/arguments.h"
#include "llmc/jinja/library/globals.h"

namespace llmc::jinja {
namespace {

// What may stand behind a '%'. Left out are %s, which depends on where the computer stands, and widths and the
// modifiers E and O, which are the C library's own.
constexpr std::string_view kFlags = "-_0^#", kConversions = "%aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZf";

std::tm local_time() {
    const std::time_t now = std::time(nullptr);
    std::tm time{};
    localtime_r(&now, &time);
    return time;
}

std::tm day(const Date& date) {
    std::tm time{};
    time.tm_year = date.year - 1900;
    time.tm_mon = date.month - 1;
    time.tm_mday = date.day;
    // Weekday and day of the year, without the shifts of any time zone.
    std::tm counted = time;
    const std::time_t seconds = timegm(&counted);
    gmtime_r(&seconds, &counted);
    time.tm_wday = counted.tm_wday;
    time.tm_yday = counted.tm_yday;
    return time;
}

// One conversion, "%" and what belongs to it. Names of days and months are English.
std::string convert(const std::string& conversion, const std::tm& time) {
    std::array<char, 256> buffer;
    // A conversion may give nothing: a letter in front tells that from a buffer too small.
    const size_t size = std::strftime(buffer.data(), buffer.size(), ("x" + conversion).c_str(), &time);
    return size == 0 ? std::string() : std::string(buffer.data() + 1, size - 1);
}

}  // namespace

Value strftime_now(Runtime& runtime, const Arguments& arguments) {
    const Parameters parameters(runtime, "strftime_now", arguments, {"format"}, 1);
    const std::string_view format = parameters.text(0);
    const std::tm time = runtime.options().date ? day(*runtime.options().date) : local_time();
    std::string text;
    for (size_t at = 0; at < format.size(); ++at) {
        if (format[at] != '%' || at + 1 == format.size()) {
            text += format[at];
            continue;
        }
        size_t end = at + 1;  // a flag of the C library, then the letter
        if (end + 1 < format.size() && kFlags.find(format[end]) != kFlags.npos) ++end;
        const std::string conversion(format.substr(at, end + 1 - at));
        if (kConversions.find(conversion.back()) == kConversions.npos)
            refuse(runtime, "strftime_now has no '", conversion, "'; write a conversion such as %Y, %m, %d or %B");
        if (conversion.back() == 'f')
            text += "000000";                                           // microseconds
        else if (conversion.back() != 'z' && conversion.back() != 'Z')  // a datetime without a zone prints nothing
            text += convert(conversion, time);
        at = end;
        runtime.check_size(text.size());
    }
    return runtime.string(text);
}

}  // namespace llmc::jinja
