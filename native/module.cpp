// What Python sees of the native engine.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "engine.h"

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

// The kinds of processor that this one is, the most capable first.
std::vector<std::string> processors() {
    std::vector<std::string> found;
#if defined(CHAINRULE_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        found.push_back("avx512");
    if (avx2) found.push_back("avx2");
#endif
    found.push_back("baseline");
    return found;
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
    throw std::invalid_argument("this processor has no " + processor);
}

template <class T> using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

Numbers numbers_of(const AnyArray& array) {
    const nb::dlpack::dtype d = array.dtype();
    if (d == nb::dtype<float>()) return Numbers::float32;
    if (d == nb::dtype<double>()) return Numbers::float64;
    if (d == nb::dtype<uint8_t>()) return Numbers::uint8;
    if (d == nb::dtype<int32_t>()) return Numbers::int32;
    if (d == nb::dtype<int64_t>()) return Numbers::int64;
    throw std::invalid_argument("a table of numbers of another type");
}

// Samples along the first axis, each of them in one piece.
Table table_of(const nb::object& given) {
    Table table;
    if (given.is_none()) return table;
    const auto array = nb::cast<AnyArray>(given);
    table.data = static_cast<const char*>(array.data());
    table.type = numbers_of(array);
    table.count = long(array.shape(0));
    table.size = 1;
    for (size_t k = 1; k < array.ndim(); ++k) table.size *= long(array.shape(k));
    table.stride = long(array.stride(0)) * long(array.itemsize());
    return table;
}

Data data_of(const nb::object& x, const nb::object& y, const nb::object& weight, const nb::object& order) {
    Data data;
    data.x = table_of(x);
    data.y = table_of(y);
    data.weight = table_of(weight);
    data.rows = data.x.count;
    if (!order.is_none()) {
        const auto rows = nb::cast<nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>>(order);
        data.order = rows.data();
        data.rows = long(rows.shape(0));
    }
    return data;
}

template <class T> nb::object matrix(T* data, long rows, long width, long ld) {
    if (!data) return nb::none();
    const size_t shape[2] = {size_t(rows), size_t(width)};
    const int64_t strides[2] = {ld, 1};
    return nb::cast(nb::ndarray<nb::numpy, T>(data, 2, shape, nb::handle(), strides), nb::rv_policy::reference);
}

template <class T> T* begin_of(const nb::object& given) {
    return given.is_none() ? nullptr : nb::cast<Vector<T>>(given).data();
}

template <class T> struct Bound {
    using E = Engine<T>;
    using Names = std::vector<int>;

    static void stage(E& e, int rule, std::vector<double> numbers, std::vector<int> on,
                      std::shared_ptr<Schedule> schedule) {
        DescentStage<T> made;
        made.rule = Rule(rule);
        made.n = std::move(numbers);
        made.on.assign(on.begin(), on.end());
        if (schedule) made.schedule = *schedule;
        e.descent.stages.push_back(std::move(made));
    }

    // Each stage's memory: [vectors], count, scale.
    static void lend(E& e, const nb::list& memory) {
        size_t k = 0;
        for (const nb::handle item : memory) {
            const auto held = nb::cast<nb::tuple>(item);
            DescentStage<T>& stage = e.descent.stages.at(k++);
            int slot = 0;
            for (const nb::handle vector : nb::cast<nb::list>(held[0]))
                stage.state[slot++] = nb::cast<Vector<T>>(vector).data();
            using Count = nb::ndarray<int64_t, nb::ndim<0>, nb::device::cpu>;
            using Scale = nb::ndarray<double, nb::ndim<0>, nb::device::cpu>;
            stage.count = held[1].is_none() ? nullptr : nb::cast<Count>(held[1]).data();
            stage.scale = held[2].is_none() ? nullptr : nb::cast<Scale>(held[2]).data();
        }
    }

    static nb::tuple run(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y, nb::object weight,
                         nb::object order, long batch, uint64_t first_step, double seconds, nb::object losses,
                         nb::object gradient, nb::object update) {
        const Data data = data_of(x, y, weight, order);
        T *to_w = begin_of<T>(w), *to_statistics = begin_of<T>(statistics);
        double* to_losses = begin_of<double>(losses);
        T *to_gradient = begin_of<T>(gradient), *to_update = begin_of<T>(update);
        Ran ran;
        {
            const nb::gil_scoped_release released;
            ran = e.run(to_w, to_statistics, data, batch, first_step, seconds, to_losses, to_gradient, to_update);
        }
        return nb::make_tuple(ran.steps, int(ran.ending));
    }

    static nb::tuple differentiate(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y,
                                   nb::object weight, nb::object order, uint64_t step, nb::object gradient) {
        const Data data = data_of(x, y, weight, order);
        T *to_w = begin_of<T>(w), *to_statistics = begin_of<T>(statistics), *to_gradient = begin_of<T>(gradient);
        double value;
        bool fine;
        {
            const nb::gil_scoped_release released;
            value = e.differentiate(to_w, to_statistics, data, step, to_gradient, fine);
        }
        return nb::make_tuple(value, fine);
    }

    static bool predict(E& e, nb::object w, nb::object statistics, nb::object x, nb::object predictions) {
        const Data data = data_of(x, nb::none(), nb::none(), nb::none());
        T *to_w = begin_of<T>(w), *to_statistics = begin_of<T>(statistics), *to = begin_of<T>(predictions);
        const nb::gil_scoped_release released;
        return e.predict(to_w, to_statistics, data, to);
    }

    // call(backward, samples, step, training, parameters, statistics, gradient, x, y, dx, dy)
    static void foreign(E& e, int x, int y, long parameters, long statistics, nb::object call, bool wants_input) {
        const Value<T>&from = e.at(x), &to = e.at(y);
        const auto run = [&e, &from, &to, parameters, statistics, call = std::move(call), wants_input](
                             const Pass<T>& p, bool backward) {
            const nb::gil_scoped_acquire acquired;
            try {
                call(backward, p.samples, p.step, p.training, matrix(const_cast<T*>(p.w), 1, parameters, parameters),
                     matrix(p.statistics, 1, statistics, statistics), matrix(p.g, 1, parameters, parameters),
                     matrix(from.value, p.samples * from.rows, from.width, from.ld),
                     matrix(to.value, p.samples * to.rows, to.width, to.ld),
                     matrix(wants_input ? from.gradient : nullptr, p.samples * from.rows, from.width, from.ld),
                     matrix(to.gradient, p.samples * to.rows, to.width, to.ld));
            } catch (...) {
                e.fail(std::current_exception(), backward);
            }
        };
        e.add(std::make_unique<ForeignOp<T>>(run));
    }

    static void bind(nb::module_& m, const char* name) {
        nb::class_<E>(m, name)
            .def("__init__", [](E* e, const std::string& processor, long most_samples, int threads) {
                new (e) E(kernels_for<T>(processor), most_samples, threads);
            }, "processor"_a, "most_samples"_a, "threads"_a)
            .def_prop_ro("processor", &E::processor)
            .def("value", &E::value)
            .def("dense", [](E& e, int x, int y, long W, long b, bool relu, bool slope, bool wants) {
                e.add(std::make_unique<DenseOp<T>>(e.at(x), e.at(y), W, b, relu, slope, wants));
            })
            .def("activation", [](E& e, int x, int y, int kind, double number, bool wants) {
                e.add(std::make_unique<ActivationOp<T>>(e.at(x), e.at(y), Activation(kind), T(number), wants));
            })
            .def("prelu", [](E& e, int x, int y, long alpha, bool wants) {
                e.add(std::make_unique<PReLUOp<T>>(e.at(x), e.at(y), alpha, wants));
            })
            .def("softmax", [](E& e, int x, int y, bool logarithm, bool wants) {
                e.add(std::make_unique<SoftmaxOp<T>>(e.at(x), e.at(y), logarithm, wants));
            })
            .def("norm", [](E& e, int x, int y, int unit, long scale, long offset, long mean, long variance,
                            double momentum, double epsilon, bool wants) {
                const Value<T>& from = e.at(x);
                T* inverse = e.own(mean >= 0 ? from.width : e.most_samples() * from.rows);
                e.add(std::make_unique<NormOp<T>>(from, e.at(y), e.at(unit), inverse, scale, offset, mean, variance,
                                                  T(momentum), T(epsilon), wants));
            })
            .def("dropout", [](E& e, int x, int y, int mask, uint64_t key0, uint64_t key1, uint32_t threshold,
                               double kept, bool wants) {
                e.add(std::make_unique<DropoutOp<T>>(e.at(x), e.at(y), e.at(mask), key0, key1, threshold, T(kept),
                                                     wants));
            })
            .def("embedding", [](E& e, int x, int y, long W, long count, bool wants) {
                e.add(std::make_unique<EmbeddingOp<T>>(e.at(x), e.at(y), W, count, wants));
            })
            .def("reshape", [](E& e, int x, int y, bool wants) {
                e.add(std::make_unique<ReshapeOp<T>>(e.at(x), e.at(y), wants));
            })
            .def("fork", [](E& e, int x, const Names& ys, bool wants) {
                e.add(std::make_unique<ForkOp<T>>(e.at(x), e.all(ys), wants));
            })
            .def("sum", [](E& e, const Names& xs, int y) {
                e.share_gradient(xs, y);
                e.add(std::make_unique<SumOp<T>>(e.all(xs), e.at(y)));
            })
            .def("concatenate", [](E& e, const Names& xs, int y) {
                e.add(std::make_unique<ConcatenateOp<T>>(e.all(xs), e.at(y)));
            })
            .def("foreign", &foreign)
            .def("loss", [](E& e, int kind, double number, const std::vector<double>& class_weights, bool classes,
                            long target_width) {
                e.loss.kind = LossKind(kind);
                e.loss.number = T(number);
                e.loss.classes = classes;
                e.loss.target_width = target_width;
                e.class_weights.assign(class_weights.begin(), class_weights.end());
            })
            .def("arrays", [](E& e, const std::vector<std::tuple<long, long, long>>& arrays) {
                for (const auto& [from, to, columns] : arrays) {
                    e.descent.arrays.push_back({from, to});
                    e.descent.columns.push_back(columns);
                }
            })
            .def("penalty", [](E& e, double l1, double l2, const std::vector<int>& on) {
                e.descent.penalties.push_back({l1, l2, std::vector<char>(on.begin(), on.end())});
            })
            .def("stage", &stage, "rule"_a, "numbers"_a, "on"_a, "schedule"_a.none())
            .def("table", [](E& e, size_t stage, long first, const std::vector<double>& rates) {
                std::vector<double>& n = e.descent.stages.at(stage).schedule.n;
                n.assign(1, double(first));
                n.insert(n.end(), rates.begin(), rates.end());
            })
            .def("finish", &E::finish)
            .def("lend", &lend)
            .def("run", &run, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"), nb::arg("y"),
                 nb::arg("weight").none(), nb::arg("order").none(), nb::arg("batch"), nb::arg("first_step"),
                 nb::arg("seconds"), nb::arg("losses"), nb::arg("gradient").none(), nb::arg("update").none())
            .def("differentiate", &differentiate, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"),
                 nb::arg("y"), nb::arg("weight").none(), nb::arg("order"), nb::arg("step"), nb::arg("gradient"))
            .def("predict", &predict)
            .def("prediction", [](E& e, long samples) {
                const Value<T>& v = e.at(e.prediction());
                return nb::make_tuple(matrix(v.value, samples * v.rows, v.width, v.ld),
                                      matrix(v.gradient, samples * v.rows, v.width, v.ld));
            }, "The prediction of the last mini-batch and its derivative: views, for as long as the engine lives.");
    }
};

NB_MODULE(_native, m) {
    m.doc() = "Kernels for training, and the loop over them. Used by chainrule.engine.native alone.";
    m.def("processors", &processors);
    nb::class_<Schedule>(m, "Schedule")
        .def("__init__", [](Schedule* s, int kind, double rate, std::vector<double> numbers,
                            std::shared_ptr<Schedule> then) {
            new (s) Schedule{Schedule::Kind(kind), rate, std::move(numbers), std::move(then)};
        }, "kind"_a, "rate"_a, "numbers"_a, "then"_a.none())
        .def("__call__", &Schedule::operator());
    Bound<float>::bind(m, "Engine32");
    Bound<double>::bind(m, "Engine64");
}

}  // namespace chainrule
