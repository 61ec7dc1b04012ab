#include "graph/json.h"

#include <charconv>
#include <cmath>

#include "error.h"

namespace thaw {
namespace {

constexpr double kMaxInteger = 9007199254740992.0;  // 2^53

const char* kind_name(Json::Kind kind) {
  constexpr const char* names[] = {"null", "boolean", "number", "string", "array", "object"};
  return names[static_cast<int>(kind)];
}

[[noreturn]] void wrong_kind(const char* expected, Json::Kind received) {
  fail("ERR_JSON", std::string("expected ") + expected + ", received " + kind_name(received));
}

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
  const bool negative_zero = value == 0 && std::signbit(value);
  const bool integer = std::fabs(value) <= kMaxInteger && value == std::floor(value) && !negative_zero;
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
