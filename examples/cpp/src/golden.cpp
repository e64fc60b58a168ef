#include "golden.hpp"

#include "error.hpp"
#include "json.hpp"
#include "npy.hpp"

namespace bmc {
namespace {

constexpr std::size_t kMaxRows = 64;
const char kArrays[] = "golden.npz", kRows[] = "golden.json";

Tensors tensors_of(Tensors& arrays, const std::string& kind, const std::vector<TensorInfo>& infos,
                   const std::string& what) {
  Tensors tensors;
  for (const TensorInfo& info : infos) {
    const auto array = arrays.find(kind + "." + info.name);
    if (array == arrays.end() || !info.fits(array->second)) {
      const std::string found =
          array == arrays.end() ? "no such tensor" : in_words(array->second);
      throw Error(what + ": " + kArrays + " must hold " + in_quotes(info.name) + ", " +
                  info.in_words() + ", and has " + found + "; export it again");
    }
    tensors.emplace(info.name, std::move(array->second));
  }
  return tensors;
}

void read_rows(const Bundle& bundle, const std::string& what, Golden& golden) {
  const Json json = parse_json(bundle.content(kRows), what + ": " + kRows);
  const Json& rows = member(json, "rows", what);
  const Json& labels = member(json, "labels", what);
  const bool fits = rows.is_array() && labels.is_array() && !rows.empty() &&
                    rows.size() <= kMaxRows && (labels.empty() || labels.size() == rows.size());
  if (!fits) throw Error(what + ": " + kRows + " has no rows that fit its labels; export it again");
  for (const Json& label : labels) golden.labels.push_back(label.get<std::string>());
  for (const Json& row : rows) {
    if (!row.is_array()) continue;  // a seed, or arrays in golden.npz
    golden.texts.push_back(row.get<Row>());
  }
  if (golden.texts.size() < rows.size()) golden.texts.clear();
}

}  // namespace

Golden read_golden(const Bundle& bundle) {
  const std::string what = "bundle " + bundle.folder.string();
  Tensors arrays = parse_npz(bundle.content(kArrays), what + ": " + kArrays);
  Golden golden;
  golden.inputs = tensors_of(arrays, "input", bundle.manifest.inputs, what);
  golden.outputs = tensors_of(arrays, "output", bundle.manifest.outputs, what);
  if (bundle.has(kRows)) {
    try {
      read_rows(bundle, what, golden);
    } catch (const Json::exception&) {
      throw Error(what + ": " + kRows + " holds something else than texts; export it again");
    }
    for (const auto& [name, tensor] : golden.outputs) {
      const bool fits = !tensor.shape.empty() &&
                        tensor.shape[0] == static_cast<std::int64_t>(golden.texts.size());
      if (!golden.texts.empty() && !fits) {
        throw Error(what + ": " + kArrays + " has other rows of " + in_quotes(name) + " than " +
                    kRows + "; export it again");
      }
    }
  }
  return golden;
}

}  // namespace bmc
