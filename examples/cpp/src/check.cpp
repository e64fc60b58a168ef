#include "check.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iomanip>
#include <sstream>

#include "error.hpp"
#include "golden.hpp"

namespace bmc {
namespace {

// Shares of the outputs' scale by which another processor may change them (docs/bundle.md).
constexpr double kFloatTolerance = 0.002, kOtherTolerance = 0.1;
constexpr std::size_t kWarmUp = 20;

/// Returns the difference at the index of a value in a tensor.
Difference value_difference(const std::string& what, const std::string& name, const Tensor& now,
                            const Tensor& recorded, std::size_t index) {
  const auto rows = static_cast<std::size_t>(now.shape.empty() ? 1 : now.shape[0]);
  const std::size_t width = std::max<std::size_t>(now.size() / rows, 1);  // it has a value
  return {what, name, index / width, index % width, recorded.value(index), now.value(index)};
}

/// Returns the first difference of the tokens of the golden texts.
std::optional<Difference> token_difference(const Pipeline& pipeline, const Golden& golden) {
  std::vector<Tokens> rows;
  for (std::size_t i = 0; i < golden.texts.size(); ++i) {
    rows.push_back(pipeline.encoder().encode(golden.texts[i], i + 1));
  }
  const Tensors tensors = pipeline.encoder().batch(rows);
  for (const auto& [name, recorded] : golden.inputs) {
    const Tensor& now = tensors.at(name);
    if (now.shape != recorded.shape) {
      return Difference{"input", name, 0, std::nullopt, recorded.shape, now.shape};
    }
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (now.value(i) != recorded.value(i)) {
        return value_difference("input", name, now, recorded, i);
      }
    }
  }
  return std::nullopt;
}

double scale_of(const Bundle& bundle, const Golden& golden) {
  if (bundle.manifest.scale) return *bundle.manifest.scale;
  double scale = 1;
  for (const auto& [name, tensor] : golden.outputs) {
    for (std::size_t i = 0; i < tensor.size(); ++i) {
      scale = std::max(scale, std::abs(tensor.value(i)));
    }
  }
  return scale;
}

/// Returns whether both are the same mask, NaN or infinite, in a file of another tool.
bool is_masked(const Bundle& bundle, double now, double recorded) {
  if (bundle.manifest.task != "tensors" || std::isfinite(recorded)) return false;
  return now == recorded || (std::isnan(now) && std::isnan(recorded));
}

/// Returns the first output that changes more than is allowed; notes the largest change.
std::optional<Difference> output_difference(const Bundle& bundle, const Golden& golden,
                                            const Tensors& outputs, CheckResult& result) {
  const double scale = scale_of(bundle, golden);
  const bool is_float = bundle.manifest.precision == "fp32";
  result.allowed = (is_float ? kFloatTolerance : kOtherTolerance) * scale;
  std::optional<Difference> difference;
  for (const TensorInfo& info : bundle.manifest.outputs) {
    const Tensor& now = outputs.at(info.name);
    const Tensor& recorded = golden.outputs.at(info.name);
    if (now.shape != recorded.shape || now.dtype != recorded.dtype) {
      throw Error("bundle " + bundle.folder.string() + ": golden " + info.name + " is " +
                  in_words(recorded) + ", the output of its model is " + in_words(now) +
                  "; export it again");
    }
    const auto output_scale = bundle.manifest.scales.find(info.name);
    const double factor =
        output_scale == bundle.manifest.scales.end() ? 1 : scale / output_scale->second;
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (is_masked(bundle, now.value(i), recorded.value(i))) continue;
      const double change = factor * std::abs(now.value(i) - recorded.value(i));
      if (!(change <= result.max_error)) result.max_error = change;  // also keeps a NaN
      if (!(change <= result.allowed) && !difference) {
        difference = value_difference("output", info.name, now, recorded, i);
      }
    }
  }
  return difference;
}

/// Returns a row's labels as golden.json has them: sorted, with | between them.
std::string written(const Prediction& prediction) {
  std::vector<std::string> labels;
  for (const Score& score : prediction.labels) labels.push_back(score.label);
  std::sort(labels.begin(), labels.end());
  std::string text;
  for (const std::string& label : labels) text += (text.empty() ? "" : "|") + label;
  return text;
}

/// Returns how much the logits of a row may change without another prediction.
double margin(const float* logits, const Manifest& manifest) {
  std::vector<double> values(logits, logits + manifest.labels.size());
  if (manifest.task == "multilabel") {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double limit = manifest.thresholds[i];
      values[i] = std::abs(values[i] - std::log(limit / (1 - limit)));
    }
    return *std::min_element(values.begin(), values.end());
  }
  if (values.size() < 2) return HUGE_VAL;
  std::partial_sort(values.begin(), values.begin() + 2, values.end(), std::greater<>());
  return (values[0] - values[1]) / 2;
}

/// Returns the first label that differs, of the rows whose label cannot change by chance.
std::optional<Difference> label_difference(const Pipeline& pipeline, const Golden& golden,
                                           double allowed) {
  const Manifest& manifest = pipeline.bundle().manifest;
  const Tensor& logits = golden.outputs.at(manifest.outputs[0].name);
  for (std::size_t i = 0; i < golden.labels.size() && i < golden.texts.size(); ++i) {
    const Tokens tokens = pipeline.encoder().encode(golden.texts[i], i + 1);
    const Tensors outputs = pipeline.run(pipeline.encoder().batch({tokens}));
    // Golden rows have their labels also where the bundle rejects them.
    const std::vector<Prediction> predictions =
        predictions_of(outputs.at(manifest.outputs[0].name), pipeline.bundle());
    const std::string label = written(predictions.at(0));
    const float* row = logits.data<float>() + i * manifest.labels.size();
    if (label != golden.labels[i] && margin(row, manifest) > allowed) {
      return Difference{"label", "label", i, std::nullopt, golden.labels[i], label};
    }
  }
  return std::nullopt;
}

/// Returns the milliseconds of calls, which get their numbers; the first ones are not timed.
template <typename Call>
std::vector<double> timed(std::size_t calls, const Call& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> milliseconds;
  for (std::size_t i = 0; i < kWarmUp && i < calls; ++i) call(i);
  for (std::size_t i = 0; i < calls; ++i) {
    const auto start = Clock::now();
    call(i);
    const std::chrono::duration<double, std::milli> passed = Clock::now() - start;
    milliseconds.push_back(passed.count());
  }
  return milliseconds;
}

void time_texts(const Pipeline& pipeline, const std::vector<Row>& texts, std::size_t calls,
                CheckResult& result) {
  std::vector<Tensors> encoded;
  for (const Row& text : texts) {
    encoded.push_back(pipeline.encoder().batch({pipeline.encoder().encode(text)}));
  }
  result.timed = "a text";
  result.milliseconds =
      timed(calls, [&](std::size_t number) { pipeline(texts[number % texts.size()]); });
  result.run_milliseconds =
      timed(calls, [&](std::size_t number) { pipeline.run(encoded[number % encoded.size()]); });
}

}  // namespace

std::string Difference::in_words() const {
  auto shown = [](const Value& value) -> std::string {
    std::ostringstream text;
    if (const auto* number = std::get_if<double>(&value)) {
      text << std::setprecision(9) << *number;
    } else if (const auto* shape = std::get_if<Shape>(&value)) {
      for (std::size_t i = 0; i < shape->size(); ++i) text << (i ? " x " : "") << (*shape)[i];
    } else {
      text << in_quotes(std::get<std::string>(value));
    }
    return text.str();
  };
  std::string place = "golden row " + std::to_string(row + 1) + ", " + name;
  if (index) place += "[" + std::to_string(*index) + "]";
  if (std::holds_alternative<Shape>(found)) place = "golden rows, the shape of " + name;
  return place + " is " + shown(found) + ", and was " + shown(expected) + " at the export";
}

CheckResult check(const Pipeline& pipeline, std::size_t calls) {
  const Bundle& bundle = pipeline.bundle();
  if (bundle.manifest.failure) {
    throw CheckError("bundle " + bundle.folder.string() + " failed a check when it was exported (" +
                     *bundle.manifest.failure + "); export it again");
  }
  const Golden golden = read_golden(bundle);
  const bool has_texts = pipeline.reads_texts() && !golden.texts.empty();
  CheckResult result;
  if (has_texts) result.first_difference = token_difference(pipeline, golden);
  const std::optional<Difference> of_outputs =
      output_difference(bundle, golden, pipeline.run(golden.inputs), result);
  if (!result.first_difference) result.first_difference = of_outputs;
  if (has_texts) {
    result.rows = golden.texts.size();
    if (!result.first_difference) {
      result.first_difference = label_difference(pipeline, golden, result.allowed);
    }
    time_texts(pipeline, golden.texts, calls, result);
  } else {
    result.timed = "the golden tensors";
    result.milliseconds = timed(calls, [&](std::size_t) { pipeline.run(golden.inputs); });
    result.run_milliseconds = result.milliseconds;
  }
  return result;
}

double median(std::vector<double> times) {
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  const std::size_t half = times.size() / 2;
  return (times[half] + times[(times.size() - 1) / 2]) / 2;
}

double peak_memory_mb() {
  std::ifstream status("/proc/self/status");  // Linux
  std::string word;
  double kibibytes = 0;
  while (status >> word) {
    if (word == "VmHWM:") status >> kibibytes;
  }
  return kibibytes * 1024 / 1e6;
}

}  // namespace bmc
