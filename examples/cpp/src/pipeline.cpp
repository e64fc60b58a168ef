#include "pipeline.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace bmc {
namespace {

std::string joined(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<std::string> names_of(const std::vector<TensorInfo>& infos) {
  std::vector<std::string> names;
  for (const TensorInfo& info : infos) names.push_back(info.name);
  return names;
}

Bundle bundle_for(const std::filesystem::path& folder, const Runtime& runtime) {
  Bundle bundle = Bundle::read(folder);
  const std::string& target = bundle.manifest.target;
  if (target == runtime.target) return bundle;
  const bool has_program = target == "onnx" || target == "openvino";
  throw Error("bundle " + folder.string() + " is for " + in_quotes(target) +
              ", and this program runs bundles for '" + runtime.target + "': " +
              (has_program ? "take classify_" + target + ", or " : "") +
              "bmc export MODEL --target " + runtime.target);
}

/// Throws Error unless texts become the tensors that the model takes.
void check_text_inputs(const Bundle& bundle) {
  const TextSettings& settings = *bundle.manifest.text;
  std::vector<std::string> encoded{"attention_mask", "input_ids"};
  if (settings.columns == 2 && settings.type_input) encoded.emplace_back("token_type_ids");
  const std::string inputs = joined(names_of(bundle.manifest.inputs));
  if (joined(encoded) != inputs) {
    throw Error("bundle " + bundle.folder.string() + ": texts become " + joined(encoded) +
                ", its model takes " + inputs + "; export it again");
  }
}

/// Returns the labels of a row by softmax, in float as in Python: the most probable one.
Prediction classified(const float* logits, const std::vector<std::string>& labels) {
  const std::size_t count = labels.size();
  const std::size_t best =
      static_cast<std::size_t>(std::max_element(logits, logits + count) - logits);
  float sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - logits[best]);
  return {{{labels[best], static_cast<double>(1 / sum)}}, {}, false};
}

Prediction with_thresholds(const float* logits, const Manifest& manifest) {
  Prediction prediction;
  for (std::size_t i = 0; i < manifest.labels.size(); ++i) {
    const double limit = manifest.thresholds[i];
    if (logits[i] - static_cast<float>(std::log(limit / (1 - limit))) > 0) {
      const double probability = 1 / (1 + std::exp(-static_cast<double>(logits[i])));
      prediction.labels.push_back({manifest.labels[i], probability});
    }
  }
  std::stable_sort(prediction.labels.begin(), prediction.labels.end(),
                   [](const Score& a, const Score& b) { return a.score > b.score; });
  return prediction;
}

}  // namespace

void check_names(const Bundle& bundle, std::vector<std::string> inputs,
                 std::vector<std::string> outputs) {
  const std::string model = joined(inputs) + " -> " + joined(outputs);
  const std::string manifest =
      joined(names_of(bundle.manifest.inputs)) + " -> " + joined(names_of(bundle.manifest.outputs));
  if (model != manifest) {
    throw Error("bundle " + bundle.folder.string() + ": the model has the tensors " + model +
                ", its manifest says " + manifest + "; export it again");
  }
}

Pipeline::Pipeline(const std::filesystem::path& folder, const Runtime& runtime, int threads)
    : bundle_(bundle_for(folder, runtime)) {
  const Manifest& manifest = bundle_.manifest;
  if (manifest.text) {
    check_text_inputs(bundle_);
    try {
      encoder_ = std::make_unique<TextEncoder>(bundle_);
    } catch (const UnsupportedError& error) {  // tensors can still be run
      unsupported_reason_ = error.what();
    }
  } else {
    unsupported_reason_ = "bundle " + folder.string() + " takes rows of the kind " +
                in_quotes(manifest.kind) +
                ", and this program reads texts alone: pass its tensors as arrays (--npy "
                "NAME=FILE), or run it in Python (bmc.load)";
  }
  session_ = runtime.load(bundle_, threads);
}

Prediction Pipeline::operator()(const Row& row, std::size_t number) const {
  return predictions(encoder().batch({encoder().encode(row, number)}), number).at(0);
}

std::vector<Prediction> Pipeline::predictions(const Tensors& inputs, std::size_t first) const {
  const Manifest& manifest = bundle_.manifest;
  if (manifest.failure) {
    throw Error("bundle " + bundle_.folder.string() + " failed a check when it was exported (" +
                *manifest.failure + "); export it again");
  }
  const Tensors outputs = run(inputs);
  std::vector<Prediction> predictions =
      predictions_of(outputs.at(manifest.outputs[0].name), bundle_, first);
  if (!manifest.reject_below) return predictions;
  for (Prediction& prediction : predictions) {
    prediction.rejected = prediction.labels[0].score < *manifest.reject_below;
    if (prediction.rejected) prediction.labels[0].label.clear();
  }
  return predictions;
}

Tensors Pipeline::run(const Tensors& inputs) const {
  for (const TensorInfo& info : bundle_.manifest.inputs) {
    const auto tensor = inputs.find(info.name);
    const bool is_there = tensor != inputs.end();
    if (!is_there || !info.fits(tensor->second)) {
      throw Error("the model takes " + in_quotes(info.name) + ", " + info.in_words() + "; " +
                  (is_there ? "this is " + in_words(tensor->second) : "it is missing"));
    }
  }
  return session_->run(inputs);
}

const TextEncoder& Pipeline::encoder() const {
  if (encoder_) return *encoder_;
  throw UnsupportedError(unsupported_reason_);
}

std::vector<Prediction> predictions_of(const Tensor& output, const Bundle& bundle,
                                       std::size_t first) {
  const Manifest& manifest = bundle.manifest;
  const std::string what = "bundle " + bundle.folder.string();
  if (!manifest.outputs[0].fits(output)) {
    throw Error(what + ": its first output is " + in_words(output) + ", its manifest says " +
                manifest.outputs[0].in_words() + "; export it again");
  }
  const bool has_rows = output.dtype == DType::kFloat32 && output.shape.size() == 2;
  const bool is_plain = manifest.task == "regression" || manifest.task == "embedding";
  const bool has_labels = manifest.task == "classification" || manifest.task == "multilabel";
  if (!has_rows || !(is_plain || has_labels)) {
    throw Error(what + " has the task " + in_quotes(manifest.task) +
                ", for which this program computes outputs and no predictions: run it in Python "
                "(bmc.load), or call Pipeline::run");
  }
  const auto width = static_cast<std::size_t>(output.shape[1]);
  std::vector<Prediction> predictions;
  for (std::size_t row = 0; row < static_cast<std::size_t>(output.shape[0]); ++row) {
    const float* values = output.data<float>() + row * width;
    if (!std::all_of(values, values + width, [](float value) { return std::isfinite(value); })) {
      throw Error(what + ": the outputs for row " + std::to_string(first + row) +
                  " are NaN or infinite; the check of this program says whether it is damaged");
    }
    if (manifest.task == "classification") {
      predictions.push_back(classified(values, manifest.labels));
    } else if (manifest.task == "multilabel") {
      predictions.push_back(with_thresholds(values, manifest));
    } else {
      predictions.push_back({{}, {values, values + width}, false});
    }
  }
  return predictions;
}

}  // namespace bmc
