#pragma once
// JSON in and out: the graph description, the attributes of nodes and the requests of a session.
// Numbers are doubles (exact up to 2^53), objects keep their order. Depth and size are limited,
// so that untrusted text can neither exhaust the stack nor the memory.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thaw {

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  Json() = default;
  Json(bool value) : kind_(Kind::boolean), number_(value) {}
  Json(double value) : kind_(Kind::number), number_(value) {}
  Json(int value) : Json(static_cast<double>(value)) {}
  Json(int64_t value) : Json(static_cast<double>(value)) {}
  Json(uint64_t value) : Json(static_cast<double>(value)) {}
  Json(const char* value) : Json(std::string(value)) {}
  Json(std::string value) : kind_(Kind::string), string_(std::move(value)) {}
  Json(const std::vector<int64_t>& values);
  static Json array() { Json j; j.kind_ = Kind::array; return j; }
  static Json object() { Json j; j.kind_ = Kind::object; return j; }

  /// Parses one JSON text. Throws ERR_JSON with the byte offset of what is wrong.
  static Json parse(std::string_view text);
  std::string dump() const;

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }

  // Typed access; the wrong kind throws ERR_JSON naming both kinds.
  bool as_bool() const;
  double as_number() const;
  int64_t as_int() const;  // a number without a fraction
  const std::string& as_string() const;
  const std::vector<Json>& items() const;                             // array
  const std::vector<std::pair<std::string, Json>>& members() const;   // object
  std::vector<int64_t> as_ints() const;                               // array of integers
  std::vector<double> as_numbers() const;
  std::vector<std::string> as_strings() const;

  /// Member by name: null pointer where it is absent or null.
  const Json* find(std::string_view name) const;
  /// Member by name: throws ERR_JSON where it is absent.
  const Json& at(std::string_view name) const;
  // Members with a default for absent ones.
  bool get(std::string_view name, bool otherwise) const;
  int64_t get(std::string_view name, int64_t otherwise) const;
  int64_t get(std::string_view name, int otherwise) const { return get(name, int64_t{otherwise}); }
  double get(std::string_view name, double otherwise) const;
  std::string get(std::string_view name, const char* otherwise) const;
  std::vector<int64_t> get(std::string_view name, const std::vector<int64_t>& otherwise) const;

  /// Sets a member (turns null into an object) and returns *this for chaining.
  Json& set(std::string name, Json value);
  /// The same for a name that the object does not have yet: takes no time to look for it.
  Json& append(std::string name, Json value);
  /// Appends an item (turns null into an array).
  Json& push(Json value);

 private:
  Kind kind_ = Kind::null;
  double number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace thaw
