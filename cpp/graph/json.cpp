#include "graph/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "error.h"

namespace thaw {
namespace {

constexpr int kMaxDepth = 128;
constexpr size_t kMaxText = size_t{256} << 20;
// A value takes some 100 bytes whatever its text: without this limit "[0,0,0,…" would take 50 times its own size.
constexpr size_t kMaxValues = size_t{1} << 24;
constexpr double kMaxInteger = 9007199254740992.0;  // 2^53

const char* kind_name(Json::Kind kind) {
  constexpr const char* names[] = {"null", "boolean", "number", "string", "array", "object"};
  return names[static_cast<int>(kind)];
}

[[noreturn]] void wrong_kind(const char* expected, Json::Kind received) {
  fail("ERR_JSON", std::string("expected ") + expected + ", received " + kind_name(received));
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    if (text_.size() > kMaxText) error("at most 268435456 bytes of JSON", std::to_string(text_.size()) + " bytes");
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) unexpected("the end of the text");
    return value;
  }

 private:
  [[noreturn]] void error(const std::string& expected, const std::string& received) const {
    fail("ERR_JSON", "expected " + expected + " at byte " + std::to_string(at_) + ", received " + received);
  }
  [[noreturn]] void unexpected(const std::string& expected) const {
    if (at_ >= text_.size()) error(expected, "the end of the text");
    const unsigned char c = static_cast<unsigned char>(text_[at_]);
    if (c > 0x20 && c < 0x7f) error(expected, std::string("'") + text_[at_] + "'");
    error(expected, "byte " + std::to_string(c));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() && std::strchr(" \t\n\r", text_[at_]) && text_[at_]) ++at_;
  }
  void word(std::string_view rest) {
    if (text_.substr(at_, rest.size()) != rest) unexpected("'" + std::string(rest) + "'");
    at_ += rest.size();
  }

  Json parse_value(int depth) {
    if (depth > kMaxDepth) error("at most 128 levels of nesting", "more");
    if (++values_ > kMaxValues) error("at most 16777216 values", "more");
    skip_space();
    switch (peek()) {
      case '{': return parse_object(depth);
      case '[': return parse_array(depth);
      case '"': return Json(parse_string());
      case 't': word("true"); return Json(true);
      case 'f': word("false"); return Json(false);
      case 'n': word("null"); return Json();
      default: return Json(parse_number());
    }
  }

  Json parse_object(int depth) {
    Json object = Json::object();
    take('{');
    skip_space();
    if (take('}')) return object;
    do {
      skip_space();
      if (peek() != '"') unexpected("a member's name");
      std::string name = parse_string();
      skip_space();
      if (!take(':')) unexpected("':'");
      object.append(std::move(name), parse_value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take('}')) unexpected("',' or '}'");
    check_distinct(object);
    return object;
  }

  void check_distinct(const Json& object) const {
    std::vector<std::string_view> names;
    names.reserve(object.members().size());
    for (const auto& member : object.members()) names.push_back(member.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) error("distinct names in an object", "'" + std::string(twice->substr(0, 80)) + "' twice");
  }

  Json parse_array(int depth) {
    Json array = Json::array();
    take('[');
    skip_space();
    if (take(']')) return array;
    do {
      array.push(parse_value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) unexpected("',' or ']'");
    return array;
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }
  void digits() {
    if (!digit(peek())) unexpected("a digit");
    while (digit(peek())) ++at_;
  }

  double parse_number() {
    const size_t begin = at_;
    take('-');
    if (!digit(peek())) unexpected("a value");
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    double value = 0;
    const auto result = std::from_chars(text_.data() + begin, text_.data() + at_, value);
    if (result.ec != std::errc()) error("a number within the range of a double", std::string(text_.substr(begin, 40)));
    return value;
  }

  std::string parse_string() {
    std::string out;
    take('"');
    while (true) {
      const size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out.append(text_.substr(begin, at_ - begin));
      if (take('"')) return out;
      if (!take('\\')) unexpected("the rest of a string");
      parse_escape(out);
    }
  }

  void parse_escape(std::string& out) {
    constexpr std::string_view letters = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (take('u')) return append_utf8(out, parse_code_point());
    const size_t which = at_ < text_.size() ? letters.find(text_[at_]) : std::string_view::npos;
    if (which == std::string_view::npos) unexpected("an escape");
    out.push_back(values[which]);
    ++at_;
  }

  uint32_t parse_hex4() {
    uint32_t value = 0;
    const std::string_view hex = text_.substr(at_, 4);
    const auto result = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    if (hex.size() != 4 || result.ptr != hex.data() + 4) unexpected("four hexadecimal digits");
    at_ += 4;
    return value;
  }

  uint32_t parse_code_point() {
    const uint32_t high = parse_hex4();
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high > 0xdbff || text_.substr(at_, 2) != "\\u") error("a pair of surrogates", "a single one");
    at_ += 2;
    const uint32_t low = parse_hex4();
    if (low < 0xdc00 || low > 0xdfff) error("a pair of surrogates", "a single one");
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }

  static void append_utf8(std::string& out, uint32_t c) {
    const auto tail = [&](int shift) { out.push_back(static_cast<char>(0x80 | ((c >> shift) & 0x3f))); };
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xc0 | (c >> 6)));
      tail(0);
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | (c >> 12)));
      tail(6), tail(0);
    } else {
      out.push_back(static_cast<char>(0xf0 | (c >> 18)));
      tail(12), tail(6), tail(0);
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t values_ = 0;
};

void dump_string(const std::string& text, std::string& out) {
  constexpr const char* hex = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (u < 0x20) {
      out.append("\\u00").push_back(hex[u >> 4]);
      out.push_back(hex[u & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

// The shortest digits that read back as the same double. JSON has no word for infinity and NaN: they become null.
void dump_number(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out.append("null");
    return;
  }
  char digits[32];
  const bool integer = std::fabs(value) <= kMaxInteger && value == std::floor(value) && !(value == 0 && std::signbit(value));
  const auto result = integer ? std::to_chars(digits, digits + sizeof digits, static_cast<int64_t>(value))
                              : std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, result.ptr);
}

void dump_into(const Json& json, std::string& out) {
  switch (json.kind()) {
    case Json::Kind::null: out.append("null"); return;
    case Json::Kind::boolean: out.append(json.as_bool() ? "true" : "false"); return;
    case Json::Kind::number: dump_number(json.as_number(), out); return;
    case Json::Kind::string: dump_string(json.as_string(), out); return;
    case Json::Kind::array:
      out.push_back('[');
      for (const Json& item : json.items()) {
        if (&item != json.items().data()) out.push_back(',');
        dump_into(item, out);
      }
      out.push_back(']');
      return;
    case Json::Kind::object: break;
  }
  out.push_back('{');
  bool first = true;
  for (const auto& [name, value] : json.members()) {
    if (!first) out.push_back(',');
    first = false;
    dump_string(name, out);
    out.push_back(':');
    dump_into(value, out);
  }
  out.push_back('}');
}

// Errors inside a member name it: "expected number for 'groups', received string".
template <class Read>
auto named(std::string_view name, const char* expected, const Json& value, Read read) {
  try {
    return read(value);
  } catch (const Error&) {
    fail_expected("ERR_JSON", expected, "'" + std::string(name) + "'",
                  value.kind() == Json::Kind::number ? value.dump() : kind_name(value.kind()));
  }
}

}  // namespace

Json::Json(const std::vector<int64_t>& values) : kind_(Kind::array) {
  items_.reserve(values.size());
  for (const int64_t value : values) items_.emplace_back(value);
}

Json Json::parse(std::string_view text) { return Parser(text).document(); }

std::string Json::dump() const {
  std::string out;
  dump_into(*this, out);
  return out;
}

bool Json::as_bool() const {
  if (kind_ != Kind::boolean) wrong_kind("boolean", kind_);
  return number_ != 0;
}

double Json::as_number() const {
  if (kind_ != Kind::number) wrong_kind("number", kind_);
  return number_;
}

int64_t Json::as_int() const {
  const double value = as_number();
  if (std::fabs(value) > kMaxInteger || value != std::floor(value)) {
    fail("ERR_JSON", "expected integer, received " + dump());
  }
  return static_cast<int64_t>(value);
}

const std::string& Json::as_string() const {
  if (kind_ != Kind::string) wrong_kind("string", kind_);
  return string_;
}

const std::vector<Json>& Json::items() const {
  if (kind_ != Kind::array) wrong_kind("array", kind_);
  return items_;
}

const std::vector<std::pair<std::string, Json>>& Json::members() const {
  if (kind_ != Kind::object) wrong_kind("object", kind_);
  return members_;
}

std::vector<int64_t> Json::as_ints() const {
  std::vector<int64_t> out;
  out.reserve(items().size());
  for (const Json& item : items_) out.push_back(item.as_int());
  return out;
}

std::vector<double> Json::as_numbers() const {
  std::vector<double> out;
  out.reserve(items().size());
  for (const Json& item : items_) out.push_back(item.as_number());
  return out;
}

std::vector<std::string> Json::as_strings() const {
  std::vector<std::string> out;
  out.reserve(items().size());
  for (const Json& item : items_) out.push_back(item.as_string());
  return out;
}

const Json* Json::find(std::string_view name) const {
  for (const auto& [key, value] : members()) {
    if (key == name) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

const Json& Json::at(std::string_view name) const {
  for (const auto& [key, value] : members()) {
    if (key == name) return value;
  }
  fail("ERR_JSON", "expected a member '" + std::string(name) + "', received an object without it");
}

bool Json::get(std::string_view name, bool otherwise) const {
  const Json* found = find(name);
  return found ? named(name, "boolean", *found, [](const Json& j) { return j.as_bool(); }) : otherwise;
}

int64_t Json::get(std::string_view name, int64_t otherwise) const {
  const Json* found = find(name);
  return found ? named(name, "integer", *found, [](const Json& j) { return j.as_int(); }) : otherwise;
}

double Json::get(std::string_view name, double otherwise) const {
  const Json* found = find(name);
  return found ? named(name, "number", *found, [](const Json& j) { return j.as_number(); }) : otherwise;
}

std::string Json::get(std::string_view name, const char* otherwise) const {
  const Json* found = find(name);
  return found ? named(name, "string", *found, [](const Json& j) { return j.as_string(); }) : std::string(otherwise);
}

std::vector<int64_t> Json::get(std::string_view name, const std::vector<int64_t>& otherwise) const {
  const Json* found = find(name);
  return found ? named(name, "array of integers", *found, [](const Json& j) { return j.as_ints(); }) : otherwise;
}

Json& Json::set(std::string name, Json value) {
  if (kind_ == Kind::null) kind_ = Kind::object;
  if (kind_ != Kind::object) wrong_kind("object", kind_);
  for (auto& [key, old] : members_) {
    if (key == name) {
      old = std::move(value);
      return *this;
    }
  }
  members_.emplace_back(std::move(name), std::move(value));
  return *this;
}

Json& Json::append(std::string name, Json value) {
  if (kind_ == Kind::null) kind_ = Kind::object;
  if (kind_ != Kind::object) wrong_kind("object", kind_);
  members_.emplace_back(std::move(name), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  if (kind_ == Kind::null) kind_ = Kind::array;
  if (kind_ != Kind::array) wrong_kind("array", kind_);
  items_.push_back(std::move(value));
  return *this;
}

}  // namespace thaw
