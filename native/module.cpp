// The Python bindings of the native engine.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "arguments.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chainrule {

#define CHAINRULE_DECLARE(isa)             \
    namespace isa {                        \
    const Kernels<float>& table(float);    \
    const Kernels<double>& table(double);  \
    }
CHAINRULE_DECLARE(baseline)
#if defined(CHAINRULE_X86)
CHAINRULE_DECLARE(avx2)
CHAINRULE_DECLARE(avx512)
#endif

// The instruction sets that this processor supports, best first.
std::vector<std::string> processors() {
    std::vector<std::string> names;
#if defined(CHAINRULE_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        names.push_back("avx512");
    if (avx2) names.push_back("avx2");
#endif
    names.push_back("baseline");
    return names;
}

template <class T> const Kernels<T>& kernels_for(const std::string& processor) {
    for (const std::string& name : processors()) {
        if (!processor.empty() && name != processor) continue;
#if defined(CHAINRULE_X86)
        if (name == "avx512") return avx512::table(T());
        if (name == "avx2") return avx2::table(T());
#endif
        return baseline::table(T());
    }
    throw std::invalid_argument("this processor does not support " + processor);
}

template <class T> nb::object matrix(T* data, long rows, long width, long ld) {
    if (!data) return nb::none();
    const size_t shape[2] = {size_t(rows), size_t(width)};
    const int64_t strides[2] = {ld, 1};
    return nb::cast(nb::ndarray<nb::numpy, T>(data, 2, shape, nb::handle(), strides), nb::rv_policy::reference);
}

template <class T> struct Bindings {
    using E = Engine<T>;
    using Indices = std::vector<int>;

    static void stage(E& e, int rule, std::vector<double> numbers, std::vector<int> on,
                      std::shared_ptr<Schedule> schedule) {
        require(rule >= 0 && rule <= int(Rule::line_search), "unknown rule");
        DescentStage<T> stage;
        stage.rule = Rule(rule);
        const Needs needs = needs_of(stage.rule);
        require(numbers.size() >= size_t(needs.numbers), "the stage lacks hyperparameters");
        require(stage.rule != Rule::lbfgs || numbers[0] >= 1, "L-BFGS must remember at least one step");
        require(on.empty() || on.size() == e.descent.arrays.size(),
                "the stage's mask must have one entry for each array");
        stage.n = std::move(numbers);
        stage.on.assign(on.begin(), on.end());
        if (schedule) stage.schedule = *schedule;
        e.descent.stages.push_back(std::move(stage));
    }

    // Lends each stage's state for the next run: ([vectors], count, scale). References are held
    // until that is over.
    static void lend(E& e, const nb::list& state) {
        auto lent = std::make_shared<std::vector<nb::object>>();
        const auto keep = [&lent](nb::object array) { return lent->emplace_back(std::move(array)); };
        e.lent = nullptr;
        auto& stages = e.descent.stages;
        require_length("the optimizer's state", long(state.size()), long(stages.size()));
        for (size_t k = 0; k < stages.size(); ++k) {
            DescentStage<T>& stage = stages[k];
            const Needs needs = needs_of(stage.rule);
            const std::string name = "stage " + std::to_string(k) + "'s ";
            nb::tuple own;
            require(nb::try_cast(state[k], own, false) && own.size() == 3,
                    name + "state must be ([vectors], count, scale)");
            nb::list vectors;
            require(nb::try_cast(own[0], vectors, false), name + "vectors must be a list");
            require_length("the list of " + name + "vectors", long(vectors.size()), needs.vectors);
            for (int slot = 0; slot < needs.vectors; ++slot) {
                const long rows = stage.rule == Rule::lbfgs && slot < 2 ? long(stage.n[0]) : 1;
                stage.state[slot] = vector_of<T>(keep(vectors[size_t(slot)]), name + "vector", rows * e.parameters());
            }
            stage.count = number_of<int64_t>(keep(own[1]), name + "count", needs.count);
            stage.scale = number_of<double>(keep(own[2]), name + "scale", needs.scale);
        }
        e.lent = lent;
    }

    static nb::tuple run(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y, nb::object weight,
                         nb::object order, long batch, uint64_t first_step, double seconds, nb::object losses,
                         nb::object gradient, nb::object update) {
        const std::shared_ptr<void> lent = std::move(e.lent);
        require(e.trains() && lent,
                "the engine is not finished for training, or the optimizer's state was not lent");
        const long size = e.parameters();
        const Data data = data_of(e, x, y, weight, order);
        require(batch >= 1 && std::min(batch, data.rows) <= e.max_samples(),
                "the engine was not stage for mini-batches of this size");
        T* to_w = vector_of<T>(w, "parameters", size);
        T* to_statistics = vector_of<T>(statistics, "statistics", e.statistics());
        double* to_losses = vector_of<double>(losses, "losses", data.rows / batch + (data.rows % batch != 0), true);
        T* to_gradient = vector_or_none<T>(gradient, "gradient", size);
        T* to_update = vector_or_none<T>(update, "update", size);
        RunResult result;
        {
            const nb::gil_scoped_release released;
            result = e.run(to_w, to_statistics, data, batch, first_step, seconds, to_losses, to_gradient, to_update);
        }
        return nb::make_tuple(result.steps, int(result.ending));
    }

    static nb::tuple differentiate(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y,
                                   nb::object weight, nb::object order, uint64_t step, nb::object gradient) {
        require(e.trains(), "the engine is not finished for training");
        const Data data = data_of(e, x, y, weight, order);
        require(data.rows >= 1 && data.rows <= e.max_samples(),
                "the engine was not stage for mini-batches of this size");
        T* to_w = vector_of<T>(w, "parameters", e.parameters());
        T* to_statistics = vector_of<T>(statistics, "statistics", e.statistics());
        T* to_gradient = vector_of<T>(gradient, "gradient", e.parameters());
        double value;
        bool valid;
        {
            const nb::gil_scoped_release released;
            value = e.differentiate(to_w, to_statistics, data, step, to_gradient, valid);
        }
        return nb::make_tuple(value, valid);
    }

    static bool predict(E& e, nb::object w, nb::object statistics, nb::object x, nb::object predictions) {
        require(e.finished(), "the engine is not finished");
        const Data data = input_of(e, x);
        T* to_w = vector_of<T>(w, "parameters", e.parameters());
        T* to_statistics = vector_of<T>(statistics, "statistics", e.statistics());
        T* to = vector_of<T>(predictions, "predictions", data.rows * e.output_size());
        const nb::gil_scoped_release released;
        return e.predict(to_w, to_statistics, data, to);
    }

    static void table(E& e, size_t stage, long first, const std::vector<double>& rates) {
        require(stage < e.descent.stages.size(), "unknown stage");
        Schedule& schedule = e.descent.stages[stage].schedule;
        require(schedule.kind == Schedule::table && !rates.empty(),
                "the stage's schedule is no table, or there are no rates");
        schedule.n.assign(1, double(first));
        schedule.n.insert(schedule.n.end(), rates.begin(), rates.end());
    }

    static void arrays(E& e, const std::vector<std::tuple<long, long, long>>& arrays) {
        for (const auto& [from, to, columns] : arrays) {
            require(0 <= from && from <= to && columns >= 0, "an array lies outside of the parameters");
            require(!columns || (to - from) % columns == 0, "a matrix must have whole rows");
            e.reach(to, 0);
            e.descent.arrays.push_back({from, to});
            e.descent.columns.push_back(columns);
        }
    }

    static void penalty(E& e, double l1, double l2, const std::vector<int>& on) {
        require_length("a penalty's list of arrays", long(on.size()), long(e.descent.arrays.size()));
        e.descent.penalties.push_back({l1, l2, std::vector<char>(on.begin(), on.end())});
    }

    static nb::tuple prediction(E& e, long samples) {
        require(e.finished() && 0 <= samples && samples <= e.max_samples(), "there are fewer predictions");
        const Value<T>& v = e.at(e.prediction());
        return nb::make_tuple(matrix(v.value, samples * v.rows, v.width, v.ld),
                              matrix(v.gradient, samples * v.rows, v.width, v.ld));
    }

    // call(backward, samples, step, training, parameters, statistics, gradient, xs, y, dxs, dy)
    static void python_layer(E& e, const std::vector<int>& xs, int y, long parameters, long statistics,
                             nb::object call, std::vector<bool> wants) {
        require_length("the list of wanted derivatives", long(wants.size()), long(xs.size()));
        e.reach(parameters, statistics);
        std::vector<const Value<T>*> from;
        for (const int x : xs) from.push_back(&e.at(x));
        const Value<T>& to = e.at(y);
        const auto run = [&e, from = std::move(from), &to, parameters, statistics, call = std::move(call),
                          wants = std::move(wants)](const Pass<T>& p, bool backward) {
            const nb::gil_scoped_acquire acquired;
            try {
                nb::list inputs, derivatives;
                for (size_t k = 0; k < from.size(); ++k) {
                    const Value<T>& x = *from[k];
                    inputs.append(matrix(x.value, p.samples * x.rows, x.width, x.ld));
                    derivatives.append(matrix(wants[k] ? x.gradient : nullptr, p.samples * x.rows, x.width, x.ld));
                }
                call(backward, p.samples, p.step, p.training, matrix(const_cast<T*>(p.w), 1, parameters, parameters),
                     matrix(p.statistics, 1, statistics, statistics), matrix(p.g, 1, parameters, parameters), inputs,
                     matrix(to.value, p.samples * to.rows, to.width, to.ld), derivatives,
                     matrix(to.gradient, p.samples * to.rows, to.width, to.ld));
            } catch (...) {
                e.fail(std::current_exception(), backward);
            }
        };
        e.add(std::make_unique<PythonLayerOp<T>>(run));
    }

    static void bind(nb::module_& m, const char* name) {
        nb::class_<E>(m, name)
            .def("__init__", [](E* e, const std::string& processor, long max_samples, int threads) {
                new (e) E(kernels_for<T>(processor), max_samples, threads);
            }, "processor"_a, "most_samples"_a, "threads"_a)
            .def_prop_ro("processor", &E::processor)
            .def_prop_ro("hindered", &E::hindered, "Whether other programs hindered the threads of the last run.")
            .def("value", &E::value)
            .def("dense", [](E& e, int x, int y, long W, long b, bool relu, bool slope, bool wants) {
                e.reach(W + e.at(x).width * e.at(y).width, 0);
                e.reach(b + e.at(y).width, 0);
                e.add(std::make_unique<DenseOp<T>>(e.at(x), e.at(y), W, b, relu, slope, wants));
            })
            .def("activation", [](E& e, int x, int y, int kind, double number, bool wants) {
                e.add(std::make_unique<ActivationOp<T>>(e.at(x), e.at(y), Activation(kind), T(number), wants));
            })
            .def("prelu", [](E& e, int x, int y, long alpha, bool wants) {
                e.reach(alpha + e.at(x).width, 0);
                e.add(std::make_unique<PReLUOp<T>>(e.at(x), e.at(y), alpha, wants));
            })
            .def("softmax", [](E& e, int x, int y, bool logarithm, bool wants) {
                e.add(std::make_unique<SoftmaxOp<T>>(e.at(x), e.at(y), logarithm, wants));
            })
            .def("norm", [](E& e, int x, int y, int unit, long scale, long offset, long mean, long variance,
                            double momentum, double epsilon, bool wants) {
                const Value<T>& from = e.at(x);
                e.reach(std::max(scale, offset) + from.width, mean < 0 ? 0 : std::max(mean, variance) + from.width);
                T* inverse = e.allocate(mean >= 0 ? from.width : e.max_samples() * from.rows);
                e.add(std::make_unique<NormOp<T>>(from, e.at(y), e.at(unit), inverse, scale, offset, mean, variance,
                                                  T(momentum), T(epsilon), wants));
            })
            .def("dropout", [](E& e, int x, int y, int mask, uint64_t key0, uint64_t key1, uint32_t threshold,
                               double keep_scale, bool wants) {
                e.add(std::make_unique<DropoutOp<T>>(e.at(x), e.at(y), e.at(mask), key0, key1, threshold, T(keep_scale),
                                                     wants));
            })
            .def("embedding", [](E& e, int x, int y, long W, long count, bool wants) {
                e.reach(W + count * e.at(y).width, 0);
                e.add(std::make_unique<EmbeddingOp<T>>(e.at(x), e.at(y), W, count, wants));
            })
            .def("expand", [](E& e, int x, int y, long W, long b, std::vector<int64_t> on, bool wants) {
                const long width = e.at(x).width, units = e.at(y).width;
                bool inside = !on.empty() && units % long(on.size()) == 0;
                for (const int64_t input : on) inside &= input >= 0 && input < width;
                require(inside, "the expanded inputs must be among the inputs, with equally many units each");
                e.reach(std::max(W, b) + units, 0);
                e.add(std::make_unique<ExpandOp<T>>(e.at(x), e.at(y), W, b, std::move(on), wants));
            })
            .def("reshape", [](E& e, int x, int y, bool wants) {
                e.add(std::make_unique<ReshapeOp<T>>(e.at(x), e.at(y), wants));
            })
            .def("fork", [](E& e, int x, const Indices& ys, bool wants) {
                e.add(std::make_unique<ForkOp<T>>(e.at(x), e.values_of(ys), wants));
            })
            .def("sum", [](E& e, const Indices& xs, int y) {
                e.share_gradient(xs, y);
                e.add(std::make_unique<SumOp<T>>(e.values_of(xs), e.at(y)));
            })
            .def("concatenate", [](E& e, const Indices& xs, int y) {
                e.add(std::make_unique<ConcatenateOp<T>>(e.values_of(xs), e.at(y)));
            })
            .def("python_layer", &python_layer)
            .def("loss", [](E& e, int kind, double number, const std::vector<double>& numbers, bool classes,
                            long target_width) {
                e.loss.kind = LossKind(kind);
                e.loss.number = T(number);
                e.loss.classes = classes;
                e.loss.target_width = target_width;
                e.loss_numbers.assign(numbers.begin(), numbers.end());
            })
            .def("arrays", &arrays)
            .def("penalty", &penalty)
            .def("stage", &stage, "rule"_a, "numbers"_a, "on"_a, "schedule"_a.none())
            .def("table", &table)
            .def("finish", &E::finish)
            .def("lend", &lend)
            .def("run", &run, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"), nb::arg("y"),
                 nb::arg("weight").none(), nb::arg("order").none(), nb::arg("batch"), nb::arg("first_step"),
                 nb::arg("seconds"), nb::arg("losses"), nb::arg("gradient").none(), nb::arg("update").none())
            .def("differentiate", &differentiate, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"),
                 nb::arg("y"), nb::arg("weight").none(), nb::arg("order"), nb::arg("step"), nb::arg("gradient"))
            .def("predict", &predict)
            .def("prediction", &prediction,
                 "The prediction of the last mini-batch and its derivative: views, valid as long as the engine lives.");
    }
};

NB_MODULE(_native, m) {
    m.doc() = "The compiled kernels and the training loop over them. Used only by chainrule.engine.native.";
    m.def("processors", &processors);
    nb::class_<Schedule>(m, "Schedule")
        .def("__init__", [](Schedule* s, int kind, double rate, std::vector<double> numbers,
                            std::shared_ptr<Schedule> then) {
            require(kind >= 0 && kind <= Schedule::table, "unknown schedule");
            Schedule schedule{Schedule::Kind(kind), rate, std::move(numbers), std::move(then)};
            require(schedule.n.size() >= schedule.needed(), "the schedule lacks hyperparameters");
            require(kind != Schedule::step || schedule.n[0] >= 1,
                    "a step schedule needs steps of at least one update");
            require(kind != Schedule::warm_up || schedule.then, "a warm-up needs a schedule to follow it");
            new (s) Schedule(std::move(schedule));
        }, "kind"_a, "rate"_a, "numbers"_a, "then"_a.none())
        .def("__call__", &Schedule::operator());
    Bindings<float>::bind(m, "Engine32");
    Bindings<double>::bind(m, "Engine64");
}

}  // namespace chainrule
