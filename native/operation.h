// An operation of a network's program, as every file in ops/ defines one.
//
// A value is a layer's output for a mini-batch: each sample has `rows` rows (one for each position)
// of `width` numbers, `ld` apart. An operation reads values and writes others; backward it reads
// the gradients of its outputs and writes those of its inputs. A value with several readers goes
// through a fork, which adds up their gradients. All threads run the same operations, each on its
// share of every one, with a barrier in between.
//
// A file in ops/ is compiled once for each instruction set, in a namespace of its own. It must not
// emit functions that another file may emit, too (inline functions and templates outside of that
// namespace, such as those of std::vector): the linker keeps one of them, perhaps one that this
// processor can't run. So what these files call here is always inlined, or defined in a file that
// is compiled once (`emitted.cmake` checks it).
#pragma once

#include <cstdint>

#include "chunks.h"
#include "settings.h"
#include "share.h"

namespace chainrule {

// What its readers make of a value that is stored before it is normalized, so that the normalized
// numbers take neither memory nor time to write and read them: times * ((value - mean) * by) + plus,
// or ReLU of that, for each column.
template <class T> struct Normalization {
    T *mean, *by, *times, *plus;
    bool relu;
};

// What the operation that wrote such a value makes of the derivatives dy of the normalized one, so
// that those of the value are never written either: times * by * (dy - mean_dy - unit * mean_along),
// where unit is (value - mean) * by, and dy is 0 where ReLU's slope is.
template <class T> struct BackNormalization {
    const Normalization<T>* forward;
    T *mean_dy, *mean_along;
};

template <class T> struct Operation;

template <class T> struct Value {
    long rows, width, ld;
    T* value = nullptr;
    T* gradient = nullptr;
    bool is_input = false;  // whether it is the network's input
    const Normalization<T>* normalization = nullptr;  // null: it is stored as it is
    const BackNormalization<T>* back = nullptr;       // null: its gradient is
    const Value<T>* slopes = nullptr;  // null, or a value in whose memory there are, in training, its slopes by it
    // The operations to which chunks of its values, and of its gradient, are shown in training, by what
    // writes them and while they are in the cache; or null.
    Operation<T>*values_shown = nullptr, *gradients_shown = nullptr;

    INLINE Chunks chunks() const { return {rows}; }

    // Whether rows follow each other without padding, so that nothing may be written beyond one.
    // Otherwise whole vectors may be, as far as `ld`.
    INLINE bool is_packed() const { return ld == width; }
};

// Takes gradients of parameters that are finished; without one they are kept.
template <class T> struct GradientSink {
    virtual ~GradientSink();
    // g has the gradient of parameters [from, to), and may be overwritten afterwards.
    virtual void take(const T* g, long from, long to, int t) = 0;
};
// Numbers of a gradient that a sink takes at a time: half of a core's L2 cache.
constexpr long PART = 100 * 1024;

// One mini-batch's forward and backward pass, as one thread sees it; of a training in several processes
// (ranks), that of this rank's samples.
template <class T> struct Pass {
    long samples;
    uint64_t step;
    bool training;
    const T* w;     // parameters
    T* statistics;
    T* g;           // gradient of the parameters
    int t, threads;
    T* pack;        // this thread's scratch for matrix products
    T* scratch;     // this thread's scratch for an operation
    T* shared;      // that of all threads
    const T* const* sample_rows;  // addresses of the input's samples if they are read in place, or null
    void* invalid;                // see report_invalid
    void* barrier;                // see wait
    const T* prepared = nullptr;  // parameters as the operation has prepared them, or null
    GradientSink<T>* sink = nullptr;
    T* part = nullptr;            // this thread's scratch for PART numbers of a gradient, with a sink
    long whole = 0, first = 0;    // samples of the mini-batch on all ranks, and the place of the first of these
    void* ranks = nullptr;        // see add_over_ranks; null: there is one

    // Whether chunks of a value are shown; calls f(samples) for this thread's share of the groups of
    // samples, one by one, which writes their rows of the value.
    INLINE bool shows(const Value<T>& v) const { return training && v.values_shown; }
    template <class F> INLINE void write_by_groups(const Value<T>& v, F f) const {
        each_group(share(v.chunks().groups(samples), 1), v, f,
                   [&](long chunk) { v.values_shown->look_at_values(chunk, samples); });
    }
    // The same for samples whose gradient f writes: all of them at once where they are not shown.
    template <class F> INLINE void derive_by_groups(const Value<T>& v, F f) const {
        if (!v.gradients_shown) return f(share(samples, 1));
        derive_groups(share(v.chunks().groups(samples), 1), v, f);
    }
    template <class F> INLINE void derive_groups(Range own, const Value<T>& v, F f) const {
        each_group(own, v, f, [&](long chunk) { v.gradients_shown->look_at_gradients(chunk, samples); });
    }
    // This thread's share of the rows of a value, or of anything else.
    INLINE Range rows(const Value<T>& v, long unit = 1) const {
        return share(samples * v.rows, unit);
    }
    INLINE Range share(long count, long unit) const { return chainrule::share(count, unit, t, threads); }
    // Reports that an input is invalid; the Python definition then says why.
    void report_invalid() const;
    // Waits until all threads are here, within an operation.
    void wait() const;
    // Replaces numbers by their sums over all ranks; on the first thread of each, which calls it as often
    // as on the others.
    void add_over_ranks(double* numbers, long count) const;

  private:
    template <class F, class Show> INLINE void each_group(Range own, const Value<T>& v, F f, Show show) const {
        const long count = v.chunks().of_group();
        for (long group = own.from; group < own.to; ++group) {
            f(v.chunks().samples_of(group, samples));
            for (long chunk = group * count; chunk < (group + 1) * count; ++chunk) show(chunk);
        }
    }
};

// An operation as Python describes it.
template <class T> struct Record : Settings {
    virtual long inputs() const = 0;
    virtual long outputs() const = 0;
    virtual const Value<T>& input(long k = 0) const = 0;
    virtual const Value<T>& output(long k = 0) const = 0;
    // Whether the gradient of an input is wanted.
    virtual bool wants(long k = 0) const = 0;
    // Where an array of this size begins in the flat vector.
    virtual bool has_parameter(const char* name) const = 0;
    virtual long parameter(const char* name, long size) const = 0;
    virtual long statistic(const char* name, long size) const = 0;
    // Samples of the largest mini-batch, and memory that lives as long as the engine.
    virtual long max_samples() const = 0;
    virtual T* memory(long count) const = 0;
};

template <class T> struct Operation {
    virtual ~Operation();
    virtual void forward(const Pass<T>&) = 0;
    virtual void backward(const Pass<T>&) {}  // of those with inputs or parameters that learn
    virtual long scratch() const { return 0; }         // numbers of scratch per thread
    virtual long shared_scratch() const { return 0; }  // of all threads together, for training
    // For several predictions with the same parameters: in how many numbers it prepares them.
    virtual long prepared_size() const { return 0; }
    virtual void prepare(const T* /*w*/, T* /*to*/) const {}
    // Whether it can read the input's samples in place, as the first operation.
    virtual bool can_read_samples() const { return false; }
    // Whether its inputs share its output's gradient, or its outputs its input's memory.
    virtual bool shares_gradient() const { return false; }
    virtual bool shares_value() const { return false; }
    // Its input's value, if it keeps slopes there in training and the reader of its output multiplies the
    // gradient by them; or null.
    virtual const Value<T>* slopes() const { return nullptr; }
    // How its output, which shares its input's memory, is to be read; null: as it is.
    virtual const Normalization<T>* normalization() const { return nullptr; }
    // Whether it reads its first input so.
    virtual bool normalizes_input() const { return false; }
    // What becomes of its input's gradient, which shares its output's memory; null: it is written.
    virtual const BackNormalization<T>* back_normalization() const { return nullptr; }
    // Whether it computes that of its output from it.
    virtual bool normalizes_back() const { return false; }
    // Whether it looks at chunks of its input and of its output's gradient, and how.
    virtual bool looks() const { return false; }
    virtual void look_at_values(long /*chunk*/, long /*samples*/) {}
    virtual void look_at_gradients(long /*chunk*/, long /*samples*/) {}
    // Whether it shows chunks of its output, and of its first input's gradient.
    virtual bool shows() const { return false; }
    // Whether it can say what each sample adds to the gradient of one of its parameters, and adds that to
    // `to`, for all samples of the mini-batch; called on one thread, before `backward`, or after it where
    // that computes what is needed.
    virtual bool knows_samples() const { return false; }
    virtual bool knows_samples_after() const { return false; }
    virtual void add_samples(const Pass<T>&, long /*place*/, double* /*to*/) const {}
    // Where the parameter begins whose gradient it gives to a sink in parts; -1: it has none.
    virtual long in_parts(int /*threads*/) const { return -1; }
    // Whether it adds over ranks: then it is called on a rank without samples, too.
    virtual bool adds_over_ranks() const { return false; }
};

extern template struct GradientSink<float>;
extern template struct GradientSink<double>;
extern template struct Pass<float>;
extern template struct Pass<double>;
extern template struct Operation<float>;
extern template struct Operation<double>;

}  // namespace chainrule

// Ends a file: the operation's name is the file's.
#define REGISTER_OP(name, Class)                                                               \
    namespace chainrule::CHAINRULE_ISA {                                                       \
    Operation<float>* operation_##name(const Record<float>& r) { return new Class<float>(r); } \
    Operation<double>* operation_##name(const Record<double>& r) { return new Class<double>(r); } \
    }
