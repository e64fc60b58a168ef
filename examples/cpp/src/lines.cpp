#include "lines.hpp"

#include <iomanip>
#include <istream>
#include <ostream>
#include <sstream>

#include "error.hpp"
#include "json.hpp"

namespace bmc {
namespace {

constexpr int kDigits = 3;

std::string numbers(const std::vector<float>& values) {
  std::ostringstream text;
  text << std::setprecision(9);
  for (std::size_t i = 0; i < values.size(); ++i) text << (i ? " " : "") << values[i];
  return text.str();
}

/// Returns the labels of a prediction with | between them, and likewise their scores.
std::string scored(const Prediction& prediction) {
  std::ostringstream labels, scores;
  scores << std::fixed << std::setprecision(kDigits);
  for (std::size_t i = 0; i < prediction.labels.size(); ++i) {
    labels << (i ? "|" : "") << (prediction.rejected ? "rejected" : prediction.labels[i].label);
    scores << (i ? "|" : "") << prediction.labels[i].score;
  }
  return labels.str() + "\t" + scores.str();
}

/// Returns a prediction in the form that `bmc predict --json` has.
Json json_of(const Prediction& prediction, const std::string& task) {
  if (task == "regression") return Json(prediction.values.at(0));
  if (task == "embedding") return Json(prediction.values);
  Json labels = Json::array();
  for (const Score& score : prediction.labels) {
    Json entry = Json::object();
    entry["label"] = prediction.rejected ? Json() : Json(score.label);
    entry["score"] = score.score;
    if (prediction.rejected) entry["rejected"] = true;
    labels.push_back(entry);
  }
  return task == "classification" ? labels.at(0) : labels;
}

Json json_of(const Difference& difference) {
  auto value = [](const Difference::Value& found) {
    return std::visit([](const auto& plain) { return Json(plain); }, found);
  };
  Json entry = Json::object();
  entry["what"] = difference.what;
  entry["name"] = difference.name;
  entry["row"] = difference.row;
  entry["index"] = difference.index ? Json(*difference.index) : Json();
  entry["expected"] = value(difference.expected);
  entry["found"] = value(difference.found);
  return entry;
}

Row row_of(const Json& json, std::size_t number) {
  if (json.is_string()) return {json.get<std::string>()};
  try {
    return json.get<Row>();
  } catch (const Json::exception&) {
    throw Error("row " + std::to_string(number) + " is neither a JSON text nor a list of texts");
  }
}

}  // namespace

std::optional<Row> next_row(std::istream& stream, std::size_t columns, bool json,
                            std::size_t number) {
  std::string line;
  if (!std::getline(stream, line)) return std::nullopt;
  if (json) return row_of(parse_json(line, "row " + std::to_string(number)), number);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  const std::size_t tab = columns == 2 ? line.find('\t') : line.npos;
  if (tab == line.npos) return Row{line};
  return Row{line.substr(0, tab), line.substr(tab + 1)};
}

void write_prediction(std::ostream& stream, const Prediction& prediction, const Row& row,
                      const std::string& task, bool json) {
  if (json) {
    stream << json_of(prediction, task).dump() << '\n';
    return;
  }
  stream << (prediction.values.empty() ? scored(prediction) : numbers(prediction.values));
  for (const std::string& text : row) stream << '\t' << text;
  stream << '\n';
}

void write_tokens(std::ostream& stream, const Tokens& tokens, bool json) {
  if (json) {
    stream << Json{{"tokens", tokens.ids}, {"types", tokens.types}}.dump() << '\n';
    return;
  }
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) stream << (i ? " " : "") << tokens.ids[i];
  stream << '\n';
}

void write_check(std::ostream& stream, const CheckResult& result, const Bundle& bundle,
                 const Runtime& runtime, int threads, bool json) {
  const Manifest& manifest = bundle.manifest;
  const double p50 = median(result.milliseconds);
  const bool is_right = !result.first_difference;
  if (json) {
    Json content{{"ok", is_right},
                 {"bundle", manifest.name},
                 {"path", bundle.folder.string()},
                 {"precision", manifest.precision},
                 {"digest", manifest.digest ? Json(*manifest.digest) : Json()},
                 {"rows", result.rows},
                 {"max_error", result.max_error},
                 {"allowed", result.allowed},
                 {"first_difference", is_right ? Json() : json_of(*result.first_difference)},
                 {"version", runtime.target + " " + runtime.version},
                 {"timed", result.timed},
                 {"p50_ms", p50},
                 {"run_p50_ms", median(result.run_milliseconds)},
                 {"runs", result.milliseconds.size()},
                 {"peak_memory_mb", peak_memory_mb()}};
    content["execution"] = {
        {"device", "CPU"}, {"threads", threads}, {"precision", manifest.precision}};
    // A folder's name need not be UTF-8.
    stream << content.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  stream << bundle.folder.string() << ": " << (is_right ? "right" : "wrong") << ". "
         << runtime.name << " " << runtime.version;
  if (is_right) {
    stream << " gives the outputs of the export (largest change " << std::setprecision(2)
           << result.max_error << ", allowed " << result.allowed << "; ";
    if (result.rows > 0) {
      stream << "the " << result.rows << " raw golden rows too)";
    } else {
      stream << "the raw golden rows were not read)";
    }
  } else {
    stream << ": " << result.first_difference->in_words();
  }
  stream << ". p50 " << std::fixed << std::setprecision(kDigits) << p50 << " ms for "
         << result.timed << " (" << result.milliseconds.size() << " calls), peak memory "
         << std::setprecision(1) << peak_memory_mb() << " MB\n";
}

}  // namespace bmc
