// The Python bindings of the native engine.
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "arguments.h"
#include "schedules.h"
#include "shared_ranks.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chainrule {

#define CHAINRULE_DECLARE(isa)        \
    namespace isa {                   \
    Library<float>* library(float);   \
    Library<double>* library(double); \
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

template <class T> std::unique_ptr<Library<T>> library_for(const std::string& processor) {
    for (const std::string& name : processors()) {
        if (!processor.empty() && name != processor) continue;
#if defined(CHAINRULE_X86)
        if (name == "avx512") return std::unique_ptr<Library<T>>(avx512::library(T()));
        if (name == "avx2") return std::unique_ptr<Library<T>>(avx2::library(T()));
#endif
        return std::unique_ptr<Library<T>>(baseline::library(T()));
    }
    throw std::invalid_argument("this processor does not support " + processor);
}

// A list of numbers or of whole numbers, which may have 64 bits.
Setting setting_of(const nb::handle& value, const std::string& name) {
    Setting s;
    if (nb::try_cast(value, s.text, false)) s.is_text = true;
    else if (nb::isinstance<nb::sequence>(value))
        for (const nb::handle number : nb::borrow<nb::sequence>(value)) {
            if (nb::isinstance<nb::int_>(number))
                s.whole_numbers.push_back(int64_t(PyLong_AsUnsignedLongLongMask(number.ptr())));
            s.numbers.push_back(nb::cast<double>(number));
        }
    else {
        require(nb::try_cast(value, s.number), name, " must be a number, a text or a list of numbers");
        s.is_number = true;
    }
    return s;
}

SettingsByName settings_of(const nb::dict& settings) {
    SettingsByName by_name;
    for (const auto& [key, value] : settings) {
        const std::string name = nb::cast<std::string>(key);
        by_name[name] = setting_of(value, name);
    }
    return by_name;
}

struct NamedSchedule {
    Rates rates;
};

template <class T> nb::object matrix(T* data, long rows, long width, long ld) {
    if (!data) return nb::none();
    const size_t shape[2] = {size_t(rows), size_t(width)};
    const int64_t strides[2] = {ld, 1};
    return nb::cast(nb::ndarray<nb::numpy, T>(data, 2, shape, nb::handle(), strides), nb::rv_policy::reference);
}

// Runs on the first thread only.
template <class T> struct PythonOp final : Operation<T> {
    std::function<void(const Pass<T>&, bool backward)> call;
    explicit PythonOp(std::function<void(const Pass<T>&, bool)> call) : call(std::move(call)) {}

    void forward(const Pass<T>& p) override {
        if (p.t == 0) call(p, false);
    }
    void backward(const Pass<T>& p) override {
        if (p.t == 0) call(p, true);
    }
};

// Ranks on several machines, to which Python speaks.
template <class T> struct PythonRanks final : Ranks {
    Engine<T>& engine;
    nb::object python;
    PythonRanks(Engine<T>& engine, int rank, int count, nb::object python) : engine(engine), python(std::move(python)) {
        this->rank = rank;
        this->count = count;
    }

    void add(double* numbers, long count) override { call("add", numbers, count); }
    void agree(double* numbers, long count) override { call("agree", numbers, count); }
    void start(void* numbers, long count) override { call("start", static_cast<T*>(numbers), count); }
    void progress() override { call("progress"); }
    void finish(void* gradient, bool whole, int t, Barrier& barrier) override {
        if (t == 0) call("finish");
        if (whole) gather(gradient, true, t, barrier);
    }
    bool gather(void* numbers, bool good, int t, Barrier&) override {
        if (t > 0) return true;
        bool all_good = false;
        guarded([&] {
            const nb::object all = python.attr("gather")(array(static_cast<T*>(numbers), engine.parameters()), good);
            all_good = nb::cast<bool>(all);
        });
        return all_good;
    }

  private:
    template <class N> static nb::object array(N* numbers, long count) {
        const size_t shape[1] = {size_t(count)};
        return nb::cast(nb::ndarray<nb::numpy, N>(numbers, 1, shape, nb::handle()), nb::rv_policy::reference);
    }
    void call(const char* method) {
        guarded([&] { python.attr(method)(); });
    }
    template <class N> void call(const char* method, N* numbers, long count) {
        guarded([&] { python.attr(method)(array(numbers, count)); });
    }
    // After an error nothing more is said.
    template <class F> void guarded(F f) {
        if (engine.has_failed()) return;
        const nb::gil_scoped_acquire acquired;
        try {
            f();
        } catch (...) {
            engine.fail(std::current_exception(), false);
        }
    }
};

template <class T> struct Bindings {
    using E = Engine<T>;
    using Indices = std::vector<int>;

    // The schedule is a Schedule, a Table or None.
    static void stage(E& e, const std::string& name, const nb::dict& settings, std::vector<int> on,
                      nb::object schedule) {
        require(on.empty() || on.size() == e.descent.arrays.size(),
                "the stage's mask must have one entry for each array");
        auto stored = std::make_unique<Stored<Settings>>(name, settings_of(settings));
        if (nb::isinstance<Table>(schedule)) {
            auto table = nb::cast<std::shared_ptr<Table>>(schedule);
            stored->schedule = [table](long count) { return (*table)(count); };
        } else if (!schedule.is_none()) stored->schedule = nb::cast<NamedSchedule&>(schedule).rates;
        e.descent.add(std::move(stored), std::vector<char>(on.begin(), on.end()));
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
            Stage<T>& first = stages[k].at(0);
            const Needs needs = first.needs();
            const std::string name = "stage " + std::to_string(k) + "'s ";
            nb::tuple own;
            require(nb::try_cast(state[k], own, false) && own.size() == 3,
                    name, "state must be ([vectors], count, scale)");
            nb::list vectors;
            require(nb::try_cast(own[0], vectors, false), name, "vectors must be a list");
            require_length("the list of " + name + "vectors", long(vectors.size()), needs.vectors);
            for (int slot = 0; slot < needs.vectors; ++slot)
                first.state[slot] = vector_of<T>(keep(vectors[size_t(slot)]), name + "vector",
                                                 first.rows(slot) * e.parameters());
            first.count = number_of<int64_t>(keep(own[1]), name + "count", needs.count);
            first.scale = number_of<double>(keep(own[2]), name + "scale", needs.scale);
            for (const auto& other : stages[k].own) {
                std::copy(first.state, first.state + 4, other->state);
                other->count = first.count;
                other->scale = first.scale;
            }
        }
        e.lent = lent;
    }

    static nb::tuple run(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y, nb::object weight,
                         nb::object order, long batch, uint64_t first_step, double seconds, nb::object losses,
                         nb::object gradient, nb::object update, nb::object watch) {
        const std::shared_ptr<void> lent = std::move(e.lent);
        require(e.trains() && lent,
                "the engine is not finished for training, or the optimizer's state was not lent");
        const long size = e.parameters();
        const Data data = data_of(e, x, y, weight, order);
        require(batch >= 1 && e.own_samples(std::min(batch, data.rows)) <= e.max_samples(),
                "the engine was not stage for mini-batches of this size");
        T* to_w = vector_of<T>(w, "parameters", size);
        T* to_statistics = vector_of<T>(statistics, "statistics", e.statistics());
        double* to_losses = vector_of<double>(losses, "losses", data.rows / batch + (data.rows % batch != 0), true);
        T* to_gradient = vector_or_none<T>(gradient, "gradient", size);
        T* to_update = vector_or_none<T>(update, "update", size);
        const Watch watched = watch_of(e, watch, data, batch);
        require(!watched.numbers || (to_gradient && to_update), "watching takes a gradient and an update");
        RunResult result;
        {
            const nb::gil_scoped_release released;
            result = e.run(to_w, to_statistics, data, batch, first_step, seconds, to_losses, to_gradient, to_update,
                           watched);
        }
        return nb::make_tuple(result.steps, int(result.ending));
    }

    static nb::tuple differentiate(E& e, nb::object w, nb::object statistics, nb::object x, nb::object y,
                                   nb::object weight, nb::object order, uint64_t step, nb::object gradient) {
        require(e.trains(), "the engine is not finished for training");
        const Data data = data_of(e, x, y, weight, order);
        require(data.rows >= 1 && e.own_samples(data.rows) <= e.max_samples(),
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

    static bool predict(E& e, nb::object w, nb::object statistics, nb::object x, nb::object predictions,
                        uint64_t version, uint64_t known) {
        require(e.finished(), "the engine is not finished");
        require(known < uint64_t(1) << 40, "too many positions are known");
        const Data data = input_of(e, x);
        T* to_w = vector_of<T>(w, "parameters", e.parameters());
        T* to_statistics = vector_of<T>(statistics, "statistics", e.statistics());
        T* to = array_of<T>(predictions, "predictions", data.rows * e.output_size());
        const nb::gil_scoped_release released;
        return e.predict(to_w, to_statistics, data, to, version, known);
    }

    static void arrays(E& e, const std::vector<std::tuple<long, long, long>>& arrays) {
        for (const auto& [from, to, columns] : arrays) {
            require(0 <= from && from <= to && columns >= 0, "an array lies outside of the parameters");
            require(!columns || (to - from) % columns == 0, "a matrix must have whole rows");
            e.parameters_end = std::max(e.parameters_end, to);
            e.descent.arrays.push_back({from, to});
            e.descent.columns.push_back(columns);
        }
    }

    static void share(E& e, const nb::list& memory, nb::object pause) {
        auto* const ranks = dynamic_cast<SharedRanks<T>*>(e.ranks.get());
        require(e.trains() && ranks && e.windows.empty(), "only ranks that share no memory yet can");
        require_length("the list of memory", long(memory.size()), ranks->count);
        std::vector<double*> places;
        for (const nb::handle own : memory) {
            places.push_back(vector_of<double>(nb::borrow<nb::object>(own), "memory", SharedRanks<T>::size(e.parameters())));
            require(reinterpret_cast<uintptr_t>(places.back()) % 64 == 0, "memory must begin at a cache line");
        }
        ranks->parts = e.parts();
        ranks->share(places, e.parameters());
        ranks->failed = [&e] { return e.has_failed(); };
        ranks->pause = [&e, memory, pause] {  // which keeps the memory, too
            const nb::gil_scoped_acquire acquired;
            try {
                pause();
            } catch (...) {
                e.fail(std::current_exception(), false);
            }
            return !e.has_failed();
        };
        for (int turn = 0; turn < 2; ++turn) e.windows.push_back(ranks->own_window(turn));
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

    using Places = std::map<std::string, std::pair<long, long>>;

    static std::map<std::string, Place> places_of(const Places& places) {
        std::map<std::string, Place> by_name;
        for (const auto& [name, place] : places) {
            require(0 <= place.first && place.first <= place.second, name, " lies outside of the vectors");
            by_name[name] = {place.first, place.second};
        }
        return by_name;
    }

    static std::unique_ptr<BoundRecord<T>> record_of(E& e, const std::string& name, const Indices& inputs,
                                                     const Indices& outputs, const std::vector<bool>& wants,
                                                     const Places& parameters, const Places& statistics,
                                                     const nb::dict& settings) {
        require_length("the list of wanted derivatives", long(wants.size()), long(inputs.size()));
        auto record = std::make_unique<BoundRecord<T>>(e, name, settings_of(settings));
        for (const Indices* values : {&inputs, &outputs})
            for (const int k : *values) e.at(k);
        record->reads = inputs;
        record->writes = outputs;
        record->wanted = wants;
        record->parameters = places_of(parameters);
        record->statistics = places_of(statistics);
        return record;
    }

    static void op(E& e, const std::string& name, const Indices& inputs, const Indices& outputs,
                   const std::vector<bool>& wants, const Places& parameters, const Places& statistics,
                   const nb::dict& settings) {
        e.add(record_of(e, name, inputs, outputs, wants, parameters, statistics, settings));
    }

    // An operation without a kernel: call(backward, samples, first, step, training, parameters, statistics,
    // gradient, xs, y, dxs, dy) computes it, with the vectors as far as `parameters` and `statistics`.
    static void python_op(E& e, const Indices& inputs, int output, const std::vector<bool>& wants, long parameters,
                          long statistics, nb::object call) {
        auto record = record_of(e, "python", inputs, {output}, wants, {{"all", {0, parameters}}},
                                {{"all", {0, statistics}}}, {});
        const Record<T>& r = *record;
        const auto run = [&e, &r, parameters, statistics, call = std::move(call)](const Pass<T>& p, bool backward) {
            const nb::gil_scoped_acquire acquired;
            try {
                nb::list xs, dxs;
                for (long k = 0; k < r.inputs(); ++k) {
                    const Value<T>& x = r.input(k);
                    xs.append(matrix(x.value, p.samples * x.rows, x.width, x.ld));
                    dxs.append(matrix(r.wants(k) ? x.gradient : nullptr, p.samples * x.rows, x.width, x.ld));
                }
                const Value<T>& y = r.output();
                call(backward, p.samples, p.first, p.step, p.training, matrix(const_cast<T*>(p.w), 1, parameters, parameters),
                     matrix(p.statistics, 1, statistics, statistics), matrix(p.g, 1, parameters, parameters), xs,
                     matrix(y.value, p.samples * y.rows, y.width, y.ld), dxs,
                     matrix(y.gradient, p.samples * y.rows, y.width, y.ld));
            } catch (...) {
                e.fail(std::current_exception(), backward);
            }
        };
        e.add(std::move(record), std::make_unique<PythonOp<T>>(run));
    }

    static void bind(nb::module_& m, const char* name) {
        nb::class_<E>(m, name)
            .def("__init__", [](E* e, const std::string& processor, long max_samples, int threads) {
                new (e) E(library_for<T>(processor), max_samples, threads);
            }, "processor"_a, "most_samples"_a, "threads"_a)
            .def_prop_ro("processor", &E::processor)
            .def_prop_ro("parts", [](const E& e) {
                std::vector<std::pair<long, long>> parts;
                for (const Range part : e.parts()) parts.emplace_back(part.from, part.to);
                return parts;
            }, "Those of the gradient that ranks add up, in that order.")
            .def_prop_ro("hindered", &E::hindered, "Whether other programs hindered the threads of the last run.")
            .def("ranks", [](E& e, int rank, int count, nb::object python) {
                require(!e.finished() && 0 <= rank && rank < count, "there is no such rank");
                if (python.is_none()) e.ranks = std::make_unique<SharedRanks<T>>(rank, count);
                else e.ranks = std::make_unique<PythonRanks<T>>(e, rank, count, std::move(python));
            }, "rank"_a, "count"_a, "python"_a.none(), "Train as one of so many; None: they will `share` memory.")
            .def_prop_ro("shared_size", [](const E& e) { return SharedRanks<T>::size(e.parameters()); },
                         "How many float64 numbers each rank must share with all.")
            .def("share", &share, "memory"_a, "pause"_a,
                 "Speak to the other ranks in these arrays, one of each, which are 0 at first; pause() waits a moment.")
            .def("value", &E::value)
            .def("op", &op, "name"_a, "inputs"_a, "outputs"_a, "wants"_a, "parameters"_a, "statistics"_a, "settings"_a)
            .def("python_op", &python_op)
            .def("loss", [](E& e, const std::string& name, const nb::dict& settings, long target_width, bool classes) {
                e.set_loss(std::make_unique<Stored<Settings>>(name, settings_of(settings)), target_width, classes);
            }, "name"_a, "settings"_a, "target_width"_a, "classes"_a)
            .def("arrays", &arrays)
            .def("penalty", &penalty)
            .def("stage", &stage, "name"_a, "settings"_a, "on"_a, "schedule"_a.none())
            .def("finish", &E::finish)
            .def("lend", &lend)
            .def("run", &run, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"), nb::arg("y"),
                 nb::arg("weight").none(), nb::arg("order").none(), nb::arg("batch"), nb::arg("first_step"),
                 nb::arg("seconds"), nb::arg("losses"), nb::arg("gradient").none(), nb::arg("update").none(),
                 nb::arg("watch") = nb::none())
            .def("can_watch", &E::can_watch)
            .def_prop_ro("watched", &E::watched, "How many numbers of each step are watched.")
            .def("differentiate", &differentiate, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"),
                 nb::arg("y"), nb::arg("weight").none(), nb::arg("order"), nb::arg("step"), nb::arg("gradient"))
            .def("predict", &predict, nb::arg("parameters"), nb::arg("statistics"), nb::arg("x"), nb::arg("predictions"),
                 nb::arg("version") = 0, nb::arg("known") = 0)
            .def("prediction", &prediction,
                 "The prediction of the last mini-batch and its derivative: views, valid as long as the engine lives.");
    }
};

NB_MODULE(_native, m) {
    m.doc() = "The compiled kernels and the training loop over them. Used only by chainrule.engine.native.";
    nb::set_leak_warnings(false);  // a trained network that lives until the process ends is no leak
    m.def("processors", &processors);
    nb::class_<NamedSchedule>(m, "Schedule")
        .def("__init__", [](NamedSchedule* s, const std::string& name, const nb::dict& settings, nb::object then) {
            const Stored<Settings> stored(name, settings_of(settings));
            new (s) NamedSchedule{make_schedule(stored, then.is_none() ? Rates() : nb::cast<NamedSchedule&>(then).rates)};
        }, "name"_a, "settings"_a, "then"_a.none())
        .def("__call__", [](const NamedSchedule& s, long count) { return s.rates(count); });
    nb::class_<Table>(m, "Table")
        .def(nb::init<>())
        .def("fill", [](Table& table, long first, std::vector<double> rates) {
            require(!rates.empty(), "there are no rates");
            table.first = first;
            table.rates = std::move(rates);
        })
        .def("__call__", &Table::operator());
    Bindings<float>::bind(m, "Engine32");
    Bindings<double>::bind(m, "Engine64");
}

}  // namespace chainrule
