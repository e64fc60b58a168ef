#include "bundle.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "error.hpp"
#include "files.hpp"
#include "json.hpp"
#include "sha256.hpp"

namespace bmc {
namespace {

namespace fs = std::filesystem;
constexpr std::uintmax_t kMaxManifest = 16 << 20, kMaxFile = std::uintmax_t{512} << 20;
constexpr std::int64_t kSchema = 1, kMaxSize = std::int64_t{1} << 40, kMaxAxis = 1 << 24;
constexpr std::size_t kMaxTensors = 16, kMaxAxes = 8, kMaxFiles = 4096;

std::vector<std::string> texts_of(const Json& object, const char* key, const std::string& what) {
  std::vector<std::string> texts;
  for (const Json& item : member(object, key, what)) {
    if (!item.is_string()) throw Error(what + ": " + key + " must be texts; export it again");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

double number_of(const Json& value, const std::string& what, double least, double largest) {
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= least && number <= largest)) {
    throw Error(what + " is " + value.dump().substr(0, 60) + ", out of range; export it again");
  }
  return number;
}

TensorInfo tensor_of(const Json& entry, const std::string& what) {
  TensorInfo info{text_of(entry, "name", what), dtype_named(text_of(entry, "dtype", what)), {}};
  const Json& shape = member(entry, "shape", what);
  if (!shape.is_array() || shape.size() > kMaxAxes) {
    throw Error(what + ": the shape of " + in_quotes(info.name) +
                " is not a list of 8 axes at most; export it again");
  }
  for (const Json& size : shape) {
    if (size.is_string()) {
      info.shape.push_back({0, size.get<std::string>()});
    } else {
      const std::string axis = what + ": an axis of " + in_quotes(info.name);
      info.shape.push_back({static_cast<std::int64_t>(number_of(size, axis, 1, kMaxAxis)), ""});
    }
  }
  return info;
}

std::vector<TensorInfo> tensors_of(const Json& json, const char* key, const std::string& what) {
  const Json& entries = member(json, key, what);
  if (!entries.is_array() || entries.empty() || entries.size() > kMaxTensors) {
    throw Error(what + ": " + key + " must be a list of 1 to 16 tensors; export it again");
  }
  std::vector<TensorInfo> tensors;
  for (const Json& entry : entries) tensors.push_back(tensor_of(entry, what));
  return tensors;
}

/// Without a setting that is not known, texts would be read otherwise.
constexpr std::array<const char*, 10> kTextSettings{
    "kind",       "max_length", "columns",     "pad_id",     "vocabulary", "truncation_side",
    "pair_types", "type_input", "html_breaks", "prompt"};

TextSettings text_settings(const Json& json, const std::string& what) {
  TextSettings settings;
  constexpr std::int64_t kMaxLength = 8192, kMaxId = INT32_MAX;
  settings.max_length = static_cast<std::size_t>(size_of(json, "max_length", what, kMaxLength));
  settings.columns = static_cast<std::size_t>(size_of(json, "columns", what, 2));
  if (settings.max_length < 4 || settings.columns < 1) {
    throw Error(what + ": max_length or columns is too small; export it again");
  }
  for (const auto& entry : json.items()) {
    if (std::find(kTextSettings.begin(), kTextSettings.end(), entry.key()) == kTextSettings.end()) {
      throw Error(what + ": preprocessing has the setting " + in_quotes(entry.key()) +
                  ", which this program does not know; build a newer version of it");
    }
  }
  settings.pad_id = size_of(json, "pad_id", what, kMaxId);
  if (json.contains("vocabulary")) settings.vocabulary = size_of(json, "vocabulary", what, kMaxId);
  if (json.contains("truncation_side")) {
    const std::string side = text_of(json, "truncation_side", what);
    if (side != "left" && side != "right") throw Error(what + ": truncation_side is " + side);
    settings.cuts_left = side == "left";
  }
  settings.pair_types = flag_of(json, "pair_types", true, what);
  settings.type_input = flag_of(json, "type_input", true, what);
  settings.html_breaks = flag_of(json, "html_breaks", true, what);
  if (json.contains("prompt")) settings.prompt = text_of(json, "prompt", what);
  return settings;
}

/// Reads the probabilities above which labels are predicted, and below which a row gets none.
void read_limits(const Json& json, const std::string& what, Manifest& manifest) {
  constexpr double kLeast = 1e-9, kLargest = 1 - 1e-9;
  if (json.contains("thresholds")) {
    for (const Json& value : json["thresholds"]) {
      manifest.thresholds.push_back(number_of(value, what + ": thresholds", kLeast, kLargest));
    }
  }
  if (!json.contains("reject_below") || json["reject_below"].is_null()) return;
  manifest.reject_below =
      number_of(json["reject_below"], what + ": reject_below", kLeast, kLargest);
  if (manifest.task != "classification") {
    throw Error(what + ": reject_below does not fit the task " + in_quotes(manifest.task) +
                "; export it again");
  }
}

void read_parity(const Json& json, const std::string& what, Manifest& manifest) {
  constexpr double kLeast = 1e-30, kLargest = 1e30;
  const Json& parity = member(json, "parity", what);
  if (parity.contains("scale")) {
    manifest.scale = number_of(parity["scale"], what + ": parity.scale", kLeast, kLargest);
  }
  if (parity.contains("scales")) {
    for (const auto& [name, scale] : parity["scales"].items()) {
      manifest.scales[name] = number_of(scale, what + ": parity.scales", kLeast, kLargest);
    }
  }
  if (json.contains("failure") && !json["failure"].is_null()) {
    manifest.failure = text_of(json, "failure", what);
  } else if (parity.contains("failed")) {  // of bmc 0.1
    manifest.failure = text_of(parity, "failed", what);
  }
}

Manifest manifest_of(const Json& json, const std::string& what) {
  Manifest manifest;
  manifest.name = text_of(json, "name", what);
  manifest.target = text_of(json, "target", what);
  manifest.precision = text_of(json, "precision", what);
  manifest.model = text_of(json, "model", what);
  manifest.task = text_of(json, "task", what);
  manifest.inputs = tensors_of(json, "inputs", what);
  manifest.outputs = tensors_of(json, "outputs", what);
  manifest.labels = texts_of(json, "labels", what);
  const Json& preprocessing = member(json, "preprocessing", what);
  manifest.kind = text_of(preprocessing, "kind", what);
  if (manifest.kind == "text") manifest.text = text_settings(preprocessing, what);
  read_limits(json, what, manifest);
  read_parity(json, what, manifest);
  if (json.contains("digest")) manifest.digest = text_of(json, "digest", what);
  const bool has_labels = manifest.task == "classification" || manifest.task == "multilabel";
  const std::vector<Axis>& axes = manifest.outputs[0].shape;
  const auto width = static_cast<std::int64_t>(manifest.labels.size());
  if (has_labels && (axes.size() != 2 || axes[1].size != width || width == 0)) {
    throw Error(what + ": its first output has not one value for each label; export it again");
  }
  const std::size_t limits = manifest.task == "multilabel" ? manifest.labels.size() : 0;
  if (manifest.thresholds.size() != limits) {
    throw Error(what + ": it has " + std::to_string(manifest.thresholds.size()) +
                " thresholds, and needs " + std::to_string(limits) + "; export it again");
  }
  return manifest;
}

void check_digest(const Json& json, const std::string& what) {
  if (!json.contains("digest") && !json.contains("sizes")) return;  // of bmc 0.1
  if (text_of(json, "digest", what) != sha256(canonical(json))) {
    throw Error(what + " was changed (its digest differs); copy the bundle again");
  }
}

/// Returns the sha256 of every file, after a comparison with the files.
std::map<std::string, std::string> checked_files(const fs::path& folder, const Json& json,
                                                 const std::string& what) {
  const Json& hashes = member(json, "files", what);
  if (!hashes.is_object() || hashes.size() > kMaxFiles) {
    throw Error(what + ": files must be an object of 4,096 entries at most; export it again");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, hash] : hashes.items()) {
    std::optional<std::uintmax_t> size;
    if (json.contains("sizes")) {
      size = static_cast<std::uintmax_t>(size_of(json["sizes"], name.c_str(), what, kMaxSize));
    }
    const std::string recorded = hash.is_string() ? hash.get<std::string>() : "";
    const std::string digest = sha256_of_file(checked_path(folder, name), size);
    if (digest != recorded) {
      throw Error("bundle " + folder.string() + ": " + in_quotes(name) + " was changed (sha256 " +
                  digest.substr(0, 16) + "..., recorded " + recorded.substr(0, 16) +
                  "...); copy the bundle again");
    }
    files.emplace(name, recorded);
  }
  return files;
}

/// Refuses a file without a hash whose name an ONNX file holds: weights may be read from it.
void check_external_data(const Bundle& bundle) {
  std::vector<std::string> unlisted;
  for (const auto& entry : fs::recursive_directory_iterator(bundle.folder)) {
    const std::string name = fs::relative(entry.path(), bundle.folder).generic_string();
    const bool is_known = name == "manifest.json" || bundle.has(name);
    if (!is_known && !fs::is_directory(entry.symlink_status())) unlisted.push_back(name);
  }
  if (unlisted.empty()) return;
  const std::string model = read_file(bundle.model_path(), kMaxFile);
  for (const std::string& name : unlisted) {
    if (model.find(fs::path(name).filename().string()) != model.npos) {
      throw Error("bundle " + bundle.folder.string() + ": its model may read " + in_quotes(name) +
                  ", which has no hash; remove the file, or export the bundle again");
    }
  }
}

void check_listed(const Bundle& bundle) {
  std::vector<std::string> needed{"golden.npz"};
  const std::string& model = bundle.manifest.model;
  const std::string suffix = fs::path(model).extension().string();
  const std::string& target = bundle.manifest.target;
  if ((target == "onnx" && suffix != ".onnx") || (target == "openvino" && suffix != ".xml")) {
    throw Error("bundle " + bundle.folder.string() + ": its model " + in_quotes(model) +
                " is no file of " + target + "; export it again");
  }
  if (bundle.manifest.target != "pytorch") needed.push_back(model);
  if (bundle.manifest.target == "openvino") {
    needed.push_back(fs::path(model).replace_extension(".bin").generic_string());
  }
  if (bundle.manifest.kind == "text") needed.push_back("tokenizer.json");
  for (const std::string& name : needed) {
    if (!bundle.has(name)) {
      throw Error("bundle " + bundle.folder.string() + " has no hash of its file " +
                  in_quotes(name) + "; export it again");
    }
  }
}

}  // namespace

Bundle Bundle::read(const fs::path& folder) {
  if (!fs::exists(folder)) throw Error("no bundle at " + in_quotes(folder.string()));
  if (fs::is_regular_file(folder)) {
    throw Error(folder.string() + " is a file, and this program reads folders: bmc unpack " +
                folder.string());
  }
  if (!fs::exists(folder / "manifest.json")) {
    throw Error(folder.string() + " is not a bundle: it has no manifest.json; bmc export writes "
                "bundles");
  }
  const std::string what = folder.string() + "/manifest.json";
  const std::string text = read_file(checked_path(folder, "manifest.json"), kMaxManifest);
  const Json json = parse_json(text, what);
  const std::int64_t schema = size_of(json, "schema", what, kMaxSize);
  if (schema != kSchema) {
    throw Error(what + " has schema " + std::to_string(schema) +
                ", and this program reads schema " + std::to_string(kSchema) +
                "; build a newer version of it");
  }
  check_digest(json, what);
  Bundle bundle{folder, manifest_of(json, what), checked_files(folder, json, what)};
  check_listed(bundle);
  if (bundle.manifest.target == "onnx") check_external_data(bundle);
  return bundle;
}

fs::path Bundle::model_path() const { return checked_path(folder, manifest.model); }

std::string Bundle::content(const std::string& name) const {
  std::string bytes = read_file(checked_path(folder, name), kMaxFile);
  if (sha256(bytes) != files.at(name)) {
    throw Error("bundle " + folder.string() + ": " + in_quotes(name) +
                " was changed while it was read; copy the bundle again");
  }
  return bytes;
}

}  // namespace bmc
