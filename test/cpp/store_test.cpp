#include "session/store.h"

#include <cstring>
#include <utility>

#include "check.h"
#include "session/feature_cache.h"

using namespace thaw;

namespace {

Tensor& half_ones(Store& store, const char* name) {
  Tensor& tensor = store.replace(name, Storage::f16, {4});
  for (int i = 0; i < 4; ++i) tensor.loaded.as<uint16_t>()[i] = 0x3c00;
  return tensor;
}

void forms_of_a_tensor() {
  const auto account = std::make_shared<Account>();
  Store store(account);
  Tensor& tensor = half_ones(store, "w");
  const uint64_t version = tensor.version;
  CHECK(account->bytes() == 8);
  float* values = store.f32("w");
  CHECK(values[3] == 1 && account->bytes() == 24 && reinterpret_cast<uintptr_t>(values) % 64 == 0);
  CHECK(tensor.dtype == Storage::f16 && !tensor.modified && tensor.version == version);  // looking changes nothing
  values[0] = 5;
  store.mark_modified("w");
  CHECK(tensor.dtype == Storage::f32 && tensor.modified && tensor.version > version);
  CHECK(store.f32("w") == values && values[0] == 5 && account->bytes() == 16);
  CHECK_THROWS("ERR_TENSOR_MISSING", store.f32("absent"));
  store.create("steps", Storage::i64, {});
  CHECK(*store.i64("steps") == 0);
  CHECK_THROWS("ERR_DTYPE", store.f32("steps"));
  store.clear();
  CHECK(account->bytes() == 0);
}

// Plans look tensors up again only when the store's version has changed.
void version_of_the_store() {
  Store store(std::make_shared<Account>());
  uint64_t last = store.version();
  const auto changed = [&] { return std::exchange(last, store.version()) != store.version(); };
  half_ones(store, "w");
  CHECK(changed());
  store.f32("w");
  CHECK(!changed());
  store.mark_modified("w");
  CHECK(changed());
  store.copy("w", "v");
  CHECK(changed());
  store.rename("v", "u");
  CHECK(changed());
  CHECK(!store.drop("v") && !changed());
  CHECK(store.drop("u") && changed());
  store.clear();
  CHECK(changed());
}

// A copy has the type, the bytes and the mark of what it was made from; a tensor keeps its address when it is replaced.
void copies() {
  Store store(std::make_shared<Account>());
  Tensor* loaded = &half_ones(store, "w");
  store.copy("w", "best");
  store.f32("w")[0] = 2;
  store.mark_modified("w");
  store.copy("best", "w");
  CHECK(store.find("w") == loaded && loaded->dtype == Storage::f16 && !loaded->modified && store.f32("w")[0] == 1);
  store.rename("best", "w");
  CHECK(store.find("best") == nullptr && store.all().size() == 1 && store.at("w").name == "w");
}

void rows_of_a_cache() {
  const auto account = std::make_shared<Account>();
  FeatureCache cache(1000, account);
  float row[] = {1, 2, 3}, copied[4] = {};
  CHECK(cache.put("a", {{row, 12}, {row + 1, 4}}));
  CHECK(cache.copy("a", {{copied, 12}, {copied + 3, 4}}) && copied[2] == 3 && copied[3] == 2);
  CHECK_THROWS("ERR_INPUT", cache.copy("a", {{copied, 16}}));
  CHECK(!cache.copy("b", {{copied, 16}}) && cache.entries() == 1 && account->bytes() == 16);
  const size_t bytes = cache.bytes();
  CHECK(cache.put("a", {{row, 12}, {row, 4}}) && cache.bytes() == bytes && cache.entries() == 1);
  while (cache.put("key" + std::to_string(cache.entries()), {{row, 12}})) continue;
  CHECK(cache.full() && cache.bytes() <= cache.limit() && cache.has("a"));
  cache.clear();
  CHECK(!cache.full() && cache.bytes() == 0 && account->bytes() == 0);
}

}  // namespace

int main() {
  forms_of_a_tensor();
  version_of_the_store();
  copies();
  rows_of_a_cache();
  return check::result();
}
