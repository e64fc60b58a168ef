#include "json.hpp"

#include <charconv>
#include <set>
#include <vector>

#include "error.hpp"
#include "unicode.hpp"

namespace bmc {
namespace {

constexpr int kMaxDepth = 64;

/// Refuses repeated keys and deep nesting while a text is parsed.
class Checker {
 public:
  explicit Checker(std::string what) : what_(std::move(what)) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      throw Error(what_ + " has more than " + std::to_string(kMaxDepth) + " levels of nesting");
    }
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        throw Error(what_ + ": the key " + in_quotes(key) + " is repeated");
      }
    }
    return true;
  }

 private:
  std::string what_;
  std::vector<std::set<std::string>> keys_;
};

/// Appends a float by its shortest digits, laid out as Python's repr does.
void append_float(std::string& text, double value) {
  char buffer[32];
  const auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view written(buffer, static_cast<std::size_t>(result.ptr - buffer));
  if (written[0] == '-') {
    text += '-';
    written.remove_prefix(1);
  }
  const std::size_t mark = written.find('e');
  const int exponent = std::stoi(std::string(written.substr(mark + 1)));
  std::string digits(written.substr(0, mark));
  if (digits.size() > 1) digits.erase(1, 1);  // the point
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    text += digits[0];
    if (count > 1) text += "." + digits.substr(1);
    text += exponent < 0 ? "e-" : "e+";
    const std::string power = std::to_string(exponent < 0 ? -exponent : exponent);
    text += (power.size() < 2 ? "0" : "") + power;
  } else if (exponent < 0) {
    text += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  } else if (count <= exponent + 1) {
    text += digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  } else {
    text += digits.insert(static_cast<std::size_t>(exponent) + 1, ".");
  }
}

void append_escape(std::string& text, char32_t unit) {
  constexpr char kDigits[] = "0123456789abcdef";
  text += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[(unit >> shift) & 15];
}

void append_text(std::string& text, const std::string& value) {
  text += '"';
  for (const char32_t code : decode_utf8(value, "a text of the manifest")) {
    constexpr std::string_view kNamed = "\b\f\n\r\t\"\\", kLetters = "bfnrt\"\\";
    const std::size_t named = code < 128 ? kNamed.find(static_cast<char>(code)) : kNamed.npos;
    if (named != kNamed.npos) {
      text += '\\';
      text += kLetters[named];
    } else if (code >= 32 && code < 127) {
      text += static_cast<char>(code);
    } else if (code < 0x10000) {
      append_escape(text, code);
    } else {
      append_escape(text, 0xD800 + ((code - 0x10000) >> 10));
      append_escape(text, 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
  }
  text += '"';
}

void append_value(std::string& text, const Json& value, const char* left_out = nullptr) {
  if (value.is_object()) {  // nlohmann's objects are sorted by the bytes of their keys
    text += '{';
    bool is_first = true;
    for (const auto& [key, item] : value.items()) {
      if (left_out && key == left_out) continue;
      if (!is_first) text += ',';
      is_first = false;
      append_text(text, key);
      text += ':';
      append_value(text, item);
    }
    text += '}';
  } else if (value.is_array()) {
    text += '[';
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0) text += ',';
      append_value(text, value[i]);
    }
    text += ']';
  } else if (value.is_string()) {
    append_text(text, value.get_ref<const std::string&>());
  } else if (value.is_number_float()) {
    append_float(text, value.get<double>());
  } else {
    text += value.dump();
  }
}

[[noreturn]] void refuse(const std::string& what, const char* key, const std::string& must) {
  throw Error(what + ": " + key + " must be " + must + "; export the bundle again");
}

}  // namespace

Json parse_json(const std::string& text, const std::string& what) {
  try {
    return Json::parse(text, Checker(what));
  } catch (const Json::exception& error) {
    throw Error(what + " is not JSON: " + error.what());
  }
}

std::string canonical(const Json& manifest) {
  std::string text;
  append_value(text, manifest, "digest");
  return text;
}

const Json& member(const Json& object, const char* key, const std::string& what) {
  const auto position = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || position == object.end()) refuse(what, key, "there");
  return *position;
}

std::string text_of(const Json& object, const char* key, const std::string& what) {
  const Json& value = member(object, key, what);
  if (!value.is_string()) refuse(what, key, "a text");
  return value.get<std::string>();
}

std::int64_t size_of(const Json& object, const char* key, const std::string& what,
                     std::int64_t largest) {
  const Json& value = member(object, key, what);
  const bool fits = value.is_number_unsigned() &&
                    value.get<std::uint64_t>() <= static_cast<std::uint64_t>(largest);
  if (!fits) refuse(what, key, "a whole number up to " + std::to_string(largest));
  return value.get<std::int64_t>();
}

bool flag_of(const Json& object, const char* key, bool otherwise, const std::string& what) {
  if (!object.contains(key)) return otherwise;
  const Json& value = object[key];
  if (!value.is_boolean()) refuse(what, key, "true or false");
  return value.get<bool>();
}

}  // namespace bmc
