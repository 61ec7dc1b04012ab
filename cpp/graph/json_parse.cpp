// The reader of JSON: recursive descent, strict (RFC 8259), with limits on depth, size and number of values.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "error.h"
#include "graph/json.h"

namespace thaw {
namespace {

constexpr int kMaxDepth = 128;
constexpr size_t kMaxText = size_t{256} << 20;
// A value takes some 100 bytes whatever its text: without this limit "[0,0,0,…" would take 50 times its own size.
constexpr size_t kMaxValues = size_t{1} << 24;

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

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).document(); }

}  // namespace thaw
