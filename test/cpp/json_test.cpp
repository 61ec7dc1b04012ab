#include "graph/json.h"

#include <cmath>
#include <limits>

#include "check.h"

using thaw::Json;

namespace {

void round_trips() {
  for (const char* text : {"null", "true", "false", "0", "-0", "1", "-12", "0.1", "1e+300", "5e-324", "9007199254740992",
                           "\"\"", "\"a\\\"\\\\b\"", "[]", "{}", "[1,[2,{\"a\":null}],\"x\"]", "{\"b\":1,\"a\":[true]}",
                           "\"\\u0001\\u001f\"", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""}) {
    CHECK(Json::parse(text).dump() == text);
  }
  CHECK(Json::parse(" [ 1 , 2 ]\r\n\t ").dump() == "[1,2]");
  CHECK(Json::parse("\"\\u00e4\\u20ac\\ud83d\\ude00\\/\\n\"").as_string() == "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/\n");
  for (const double value : {0.1, 1.0 / 3, 1e21, 1e-7, 123456789.123, std::numeric_limits<double>::max(), 2.5e-308}) {
    CHECK(Json::parse(Json(value).dump()).as_number() == value);
  }
  CHECK(Json(100000).dump() == "100000");
  CHECK(Json(std::nan("")).dump() == "null");
  CHECK(Json(std::numeric_limits<double>::infinity()).dump() == "null");
}

void refuses() {
  for (const char* text : {"", " ", "nul", "truex", "01", "1.", ".5", "+1", "-", "1e", "1e999", "0x1", "NaN", "[1,]", "[1 2]", "[",
                           "{", "{\"a\"}", "{\"a\":1,}", "{a:1}", "{\"a\":1,\"a\":2}", "\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
                           "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "1 2", "'a'", "[1]]"}) {
    CHECK_THROWS("ERR_JSON", Json::parse(text));
  }
  CHECK_THROWS("ERR_JSON", Json::parse(std::string_view("\"\0\"", 3)));
  CHECK_THROWS("ERR_JSON", Json::parse(std::string_view("1\0", 2)));
  CHECK(Json::parse(std::string(128, '[') + std::string(128, ']')).kind() == Json::Kind::array);
  CHECK_THROWS("ERR_JSON", Json::parse(std::string(1000000, '[')));
  CHECK(CHECK_THROWS("ERR_JSON", Json::parse("[1,x]")) == "expected a value at byte 3, received 'x'");
}

void access() {
  const Json json = Json::parse(R"({"i":3,"f":0.5,"s":"x","b":true,"n":null,"v":[1,2],"w":["a"]})");
  CHECK(json.get("i", 0) == 3 && json.get("absent", 7) == 7 && json.get("n", 7) == 7);
  CHECK(json.get("f", 0.0) == 0.5 && json.get("s", "") == "x" && json.get("b", false));
  CHECK((json.get("v", std::vector<int64_t>{}) == std::vector<int64_t>{1, 2}));
  CHECK(json.at("w").as_strings() == std::vector<std::string>{"a"});
  CHECK(json.find("n") == nullptr && json.at("n").is_null());
  CHECK(CHECK_THROWS("ERR_JSON", json.get("f", 0)) == "expected integer for 'f', received 0.5");
  CHECK(CHECK_THROWS("ERR_JSON", json.get("s", 0.0)) == "expected number for 's', received string");
  CHECK_THROWS("ERR_JSON", json.at("absent"));
  CHECK_THROWS("ERR_JSON", json.at("i").find("x"));
  CHECK_THROWS("ERR_JSON", Json::parse("1e300").as_int());
  CHECK(Json().set("a", 1).set("a", 2).dump() == "{\"a\":2}");
  CHECK(Json().push(1).push("b").dump() == "[1,\"b\"]");
  CHECK(Json(std::vector<int64_t>{1, 2}).dump() == "[1,2]");
  CHECK_THROWS("ERR_JSON", Json::array().set("a", 1));
}

void large() {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  text += "}";
  CHECK(Json::parse(text).dump() == text);
}

}  // namespace

int main() {
  round_trips();
  refuses();
  access();
  large();
  return check::result();
}
