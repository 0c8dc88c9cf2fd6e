// The transformer runtime: models, sessions, sampling.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bindings/checks.hpp"
#include "runtime/sampler.hpp"
#include "runtime/session.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;
using runtime::Model;
using runtime::Session;
using Ids = Array<const std::int32_t>;

runtime::KvType kv_type_of(const std::string& name) {
    if (name == "float32") return runtime::KvType::float32;
    if (name == "int8") return runtime::KvType::int8;
    throw bad_value("kv", "be float32 or int8", name);
}

const char* name_of(runtime::KvType type) { return type == runtime::KvType::int8 ? "int8" : "float32"; }

Ids require_tokens(const Model& model, const py::object& object) {
    auto ids = require<const std::int32_t>(object, "ids", {kAny});
    model.require_ids(ids.data(), ids.size());
    return ids;
}

// Lengths that add up to the number of ids.
std::vector<std::size_t> require_lengths(const py::object& object, std::size_t num_ids, std::size_t least) {
    const auto lengths = require<const std::int64_t>(object, "lengths", {kAny});
    std::vector<std::size_t> checked;
    std::size_t total = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const auto length = static_cast<std::size_t>(lengths[i]);
        if (lengths[i] < static_cast<std::int64_t>(least) || length > num_ids - total) {
            throw bad_value("lengths[" + std::to_string(i) + "]",
                            "be at least " + std::to_string(least) + ", and all together the number of ids",
                            static_cast<py::ssize_t>(lengths[i]));
        }
        total += length;
        checked.push_back(length);
    }
    if (total != num_ids) throw bad_value("lengths", "add up to " + std::to_string(num_ids), static_cast<py::ssize_t>(total));
    return checked;
}

// Of each session the number of its last tokens, at least one and at most its length.
std::vector<std::size_t> require_tails(const py::object& object, const std::vector<std::size_t>& lengths) {
    const auto tails = require<const std::int64_t>(object, "tails", {static_cast<py::ssize_t>(lengths.size())});
    std::vector<std::size_t> checked;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        if (tails[i] < 1 || static_cast<std::size_t>(tails[i]) > lengths[i]) {
            throw bad_value("tails[" + std::to_string(i) + "]", "be in [1, " + std::to_string(lengths[i]) + "]",
                            static_cast<py::ssize_t>(tails[i]));
        }
        checked.push_back(static_cast<std::size_t>(tails[i]));
    }
    return checked;
}

py::object advance(Model& model, const std::vector<Session*>& sessions, const py::object& ids_object,
                   const py::object& lengths_object, const std::string& want_name, const py::object& tails_object) {
    const Ids ids = require_tokens(model, ids_object);
    const auto lengths = require_lengths(lengths_object, ids.size(), 1);
    if (lengths.size() != sessions.size()) {
        throw bad_value("lengths", "have " + std::to_string(sessions.size()) + " entries",
                        static_cast<py::ssize_t>(lengths.size()));
    }
    std::vector<Session::Use> uses;
    std::vector<runtime::Segment> segments;
    const std::int32_t* at = ids.data();
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        Session& session = *sessions[i];
        if (&session.model() != &model) throw py::value_error("sessions[" + std::to_string(i) + "] is of another model");
        uses.emplace_back(session);
        if (session.tokens().size() + lengths[i] > session.context_tokens()) {
            throw bad_value("ids", "fit into context_tokens " + std::to_string(session.context_tokens()),
                            static_cast<py::ssize_t>(session.tokens().size() + lengths[i]));
        }
        segments.push_back({&session, at, lengths[i]});
        at += lengths[i];
    }
    const auto n = static_cast<py::ssize_t>(ids.size());
    runtime::Want want = runtime::Want::logits;
    std::vector<py::ssize_t> shape;
    if (want_name == "logits" && !tails_object.is_none()) {
        const auto tails = require_tails(tails_object, lengths);
        py::ssize_t total = 0;
        for (std::size_t i = 0; i < tails.size(); ++i) {
            segments[i].tail = tails[i];
            total += static_cast<py::ssize_t>(tails[i]);
        }
        shape = {total, static_cast<py::ssize_t>(model.shape().vocab_size)};
    } else if (want_name == "logprobs") {
        want = runtime::Want::logprobs;
        shape = {n};
    } else if (want_name == "hidden") {
        want = runtime::Want::hidden;
        shape = {n, static_cast<py::ssize_t>(model.shape().hidden_size)};
    } else if (want_name != "logits") {
        throw bad_value("want", "be one of logits, logprobs, hidden", want_name);
    }
    if (shape.empty()) {
        {
            const py::gil_scoped_release nogil;
            model.advance(segments, want, nullptr);
        }
        return py::none();
    }
    py::array_t<float> out(shape);
    float* values = out.mutable_data();
    {
        const py::gil_scoped_release nogil;
        model.advance(segments, want, values);
    }
    return py::object(std::move(out));
}

py::array_t<float> encode(Model& model, const py::object& ids_object, const py::object& lengths_object) {
    if (!model.shape().is_encoder) throw py::value_error("this model is no encoder: use hidden states of a session");
    const Ids ids = require_tokens(model, ids_object);
    const auto lengths = require_lengths(lengths_object, ids.size(), 1);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        if (lengths[i] <= model.shape().max_positions) continue;
        throw bad_value("lengths[" + std::to_string(i) + "]", "be at most " + std::to_string(model.shape().max_positions),
                        static_cast<py::ssize_t>(lengths[i]));
    }
    py::array_t<float> out({lengths.size(), model.shape().hidden_size});
    float* values = out.mutable_data();
    {
        const py::gil_scoped_release nogil;
        model.encode(ids.data(), lengths.data(), lengths.size(), values);
    }
    return out;
}

// What `read` makes of a session that nobody else uses meanwhile.
template <typename F>
auto while_free(F read) {
    return [read](Session& session) {
        const Session::Use use(session);
        return read(session);
    };
}

template <typename T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple next_token(runtime::Sampler& sampler, Session& session, std::size_t seen_from,
                     const py::object& allowed_object, const py::object& bias_object) {
    const Session::Use use(session);
    if (!session.has_logits()) throw py::value_error("session holds no logits: advance it by a token first");
    const auto size = static_cast<py::ssize_t>(session.logits().size());
    Array<const bool> allowed;
    Array<const float> bias;
    const std::uint8_t* allowed_data = nullptr;
    const float* bias_data = nullptr;
    if (!allowed_object.is_none()) {
        allowed = require<const bool>(allowed_object, "allowed", {size});
        allowed_data = reinterpret_cast<const std::uint8_t*>(allowed.data());
    }
    if (!bias_object.is_none()) {
        bias = require<const float>(bias_object, "bias", {size});
        bias_data = bias.data();
    }
    runtime::Sample sample{};
    {
        const py::gil_scoped_release nogil;
        const auto& tokens = session.tokens();
        const std::size_t first = std::min(seen_from, tokens.size());
        sample = sampler.next(session.logits().data(), session.logits().size(), tokens.data() + first,
                              tokens.size() - first, allowed_data, bias_data);
    }
    return py::make_tuple(sample.id, sample.logprob);
}

void register_model(py::module_& m) {
    py::class_<Model, std::shared_ptr<Model>>(m, "RuntimeModel")
        .def(py::init([](const std::string& path, double norm_eps, std::size_t num_threads) {
                 if (num_threads < 1 || num_threads > 256) {
                     throw bad_value("num_threads", "be in [1, 256]", static_cast<py::ssize_t>(num_threads));
                 }
                 const py::gil_scoped_release nogil;
                 return std::make_shared<Model>(path, norm_eps, num_threads);
             }),
             "path"_a, "norm_eps"_a, "num_threads"_a)
        .def_property_readonly("spec", &Model::spec)
        .def_property_readonly("num_threads", &Model::num_threads)
        .def_property_readonly("hidden_size", [](const Model& model) { return model.shape().hidden_size; })
        .def_property_readonly("vocab_size", [](const Model& model) { return model.shape().vocab_size; })
        .def_property_readonly("num_layers", [](const Model& model) { return model.shape().num_layers; })
        .def_property_readonly("is_encoder", [](const Model& model) { return model.shape().is_encoder; })
        .def("nbytes", &Model::bytes)
        .def("session",
             [](const std::shared_ptr<Model>& model, const std::string& kv, std::size_t context_tokens) {
                 if (model->shape().is_encoder) throw py::value_error("an encoder has no sessions");
                 return std::make_unique<Session>(model, kv_type_of(kv), context_tokens);
             },
             "kv"_a, "context_tokens"_a)
        .def("restore",
             [](const std::shared_ptr<Model>& model, const py::bytes& snapshot, std::size_t context_tokens) {
                 const std::string_view view(snapshot);
                 const py::gil_scoped_release nogil;
                 return Session::restore(model, view, context_tokens);
             },
             "snapshot"_a, "context_tokens"_a)
        .def("advance", advance, "sessions"_a, "ids"_a, "lengths"_a, "want"_a, "tails"_a = py::none())
        .def("encode", encode, "ids"_a, "lengths"_a);
}

void register_session(py::module_& m) {
    py::class_<Session>(m, "RuntimeSession")
        .def_property_readonly("kv", [](const Session& session) { return name_of(session.kv_type()); })
        .def_property_readonly("context_tokens", &Session::context_tokens)
        .def_property_readonly("length", while_free([](const Session& session) { return session.tokens().size(); }))
        .def("tokens", while_free([](const Session& session) { return array_of(session.tokens()); }))
        .def("logits", while_free([](const Session& session) { return array_of(session.logits()); }))
        .def("nbytes", while_free([](const Session& session) { return session.bytes(); }))
        .def("cut",
             [](Session& session, std::size_t length) {
                 const Session::Use use(session);
                 const py::gil_scoped_release nogil;
                 session.cut(length);
             },
             "length"_a)
        .def("fork",
             [](Session& session, std::size_t length) {
                 const Session::Use use(session);
                 const py::gil_scoped_release nogil;
                 return session.fork(length);
             },
             "length"_a)
        .def("save", [](Session& session) {
            const Session::Use use(session);
            std::string snapshot;
            {
                const py::gil_scoped_release nogil;
                snapshot = session.save();
            }
            return py::bytes(snapshot);
        });
}

}  // namespace

void register_runtime(py::module_& m) {
    register_model(m);
    register_session(m);
    py::class_<runtime::Sampler>(m, "RuntimeSampler")
        .def(py::init([](float temperature, std::size_t top_k, float top_p, float min_p, float repetition_penalty,
                         std::uint64_t seed, std::size_t limit) {
                 return std::make_unique<runtime::Sampler>(
                     runtime::SamplingOptions{temperature, top_k, top_p, min_p, repetition_penalty}, seed, limit);
             }),
             "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "repetition_penalty"_a, "seed"_a, "limit"_a)
        .def("next", next_token, "session"_a, "seen_from"_a, "allowed"_a, "bias"_a)
        .def("choose",
             [](runtime::Sampler& sampler, const py::object& logits_object, const py::object& seen_object) {
                 const auto logits = require<const float>(logits_object, "logits", {kAny});
                 const auto seen = require<const std::int32_t>(seen_object, "seen", {kAny});
                 if (logits.size() == 0) throw py::value_error("logits must hold an entry");
                 const auto sample =
                     sampler.next(logits.data(), logits.size(), seen.data(), seen.size(), nullptr, nullptr);
                 return py::make_tuple(sample.id, sample.logprob);
             },
             "logits"_a, "seen"_a);
}

}  // namespace ruvllm::bindings
