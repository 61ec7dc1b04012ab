// The command cache: makes and asks feature caches. Rows go in and out by `run`.
#include "session/session.h"

namespace thaw {
namespace {

constexpr int64_t kDefaultLimit = int64_t{1} << 30;

Reply create_cache(Session& session, const Json& request) {
  const int64_t limit = request.get("limitBytes", kDefaultLimit);
  if (limit < 0) fail_expected("ERR_ARGUMENT", "0 or more", "'limitBytes'", std::to_string(limit));
  std::unique_ptr<RowFiles> files;
  if (const Json* disk = request.find("disk")) {
    const uint64_t file_bytes = static_cast<uint64_t>(disk->at("fileBytes").as_int());
    files = std::make_unique<RowFiles>(disk->at("files").as_strings(), disk->at("fresh").as_string(), file_bytes);
  }
  const int64_t id = session.next_id++;
  session.caches.try_emplace(id, static_cast<size_t>(limit), session.account, std::move(files));
  Reply reply;
  reply.json.set("cache", id);
  return reply;
}

Reply has(FeatureCache& cache, const Json& request) {
  Json found = Json::array();
  for (const Json& key : request.at("keys").items()) found.push(cache.has(key.as_string()));
  Reply reply;
  reply.json.set("has", std::move(found));
  return reply;
}

Reply info(const FeatureCache& cache) {
  Reply reply;
  reply.json.set("entries", static_cast<uint64_t>(cache.entries()))
      .set("bytes", static_cast<uint64_t>(cache.bytes()))
      .set("limitBytes", static_cast<uint64_t>(cache.limit()))
      .set("full", cache.full());
  if (const RowFiles* files = cache.files()) {
    Json disk = Json::object();
    disk.set("written", files->written());
    if (!files->failure().empty()) disk.set("failure", files->failure());
    reply.json.set("disk", std::move(disk));
  }
  return reply;
}

}  // namespace

/// `action` create {limitBytes, default 1 GiB, disk: {files, fresh, fileBytes}?} → {cache}; the others take {cache}: has
/// {keys} → {has}, info → {entries, bytes, limitBytes, full, disk: {written, failure?}?} (all but `disk` count what is in
/// memory), clear (what is in memory) and release → {}.
Reply command_cache(Session& session, const Json& request, Buffers&, JobContext&) {
  const std::string& action = request.at("action").as_string();
  if (action == "create") return create_cache(session, request);
  const int64_t id = request.at("cache").as_int();
  FeatureCache& cache = session.cache(id);
  if (action == "has") return has(cache, request);
  if (action == "info") return info(cache);
  if (action == "clear") {
    cache.clear();
  } else if (action == "release") {
    session.caches.erase(id);
  } else {
    fail_expected("ERR_ARGUMENT", "create, clear, release, has or info", "'action'", "'" + action + "'");
  }
  return {};
}

}  // namespace thaw
