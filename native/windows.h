// What convolutions share: where the windows of the input are, and padding.
//
// Python lists positions (engine/lowering/windows.py), numbered in row-major order. Settings of an
// operation: relu: whether a ReLU is fused; windows, places: where windows of the padded input
// begin, and their places from there; x_*: the padding of the input, y_*: of the outputs, for the
// input's gradient. That is a sum over windows, too: those of outputs that read an input. With a
// stride, inputs are read by the places of the kernel in turns; each such set of inputs is a phase
// with places of its own: back_*. A transposed convolution computes forward what a convolution
// computes backward: its own output is the input here, and its input the output.
#pragma once

#include <cstring>

#include "normalization.h"
#include "operation.h"
#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

// A sample with padding: runs of positions are copied, the others are 0. Without runs it is read as
// it is.
struct Padding {
    long positions, run;
    List<int64_t> from, to;

    INLINE bool is_needed() const { return run > 0; }
    INLINE void check(long inside) const {
        require(from.count == to.count && run >= 0 && positions >= 0, "each run needs a place");
        require(run || positions == inside, "without padding there are as many positions");
        for (long k = 0; k < from.count; ++k)
            require(0 <= from.data[k] && from.data[k] + run <= inside && 0 <= to.data[k] && to.data[k] + run <= positions,
                    "padding lies outside of a sample");
    }
};

// A group of inputs for whose gradient the same places of the kernel count.
struct Phase {
    long first, inputs;  // in back_inputs and back_windows
    long place, places;  // in back_places and back_kernel
};

// Copies `count` rows of `width` numbers.
template <class T> INLINE void copy_rows(long count, long width, const T* from, long from_ld, T* to, long to_ld) {
    if (from_ld == width && to_ld == width) {
        std::memcpy(to, from, size_t(count * width) * sizeof(T));
        return;
    }
    for (long i = 0; i < count; ++i) std::memcpy(to + i * to_ld, from + i * from_ld, size_t(width) * sizeof(T));
}

template <class T> INLINE T* aligned(T* at) {
    return at + (64 - reinterpret_cast<uintptr_t>(at) % 64) % 64 / sizeof(T);
}

// dy times the slope of a fused ReLU, whose outputs are y.
template <class T> INLINE void with_slope(long count, const T* dy, const T* y, T* to) {
    over<T>(count, [=](long k, auto get, auto put) {
        put(to + k, get(y + k) > T(0) ? get(dy + k) : Vec<T>{});
    });
}

template <class T> struct Windows : Operation<T> {
    const Value<T>&x, &y;
    bool relu, wants_input;
    Padding of_x, of_y;
    List<int64_t> windows, places;
    List<int64_t> back_counts, back_inputs, back_windows, back_places, back_kernel;
    long x_ld, y_ld;  // of a sample as windows read it
    explicit Windows(const Record<T>& r, bool transposed = false)
        : x(transposed ? r.output() : r.input()), y(transposed ? r.input() : r.output()), relu(r.flag("relu")), wants_input(r.wants()),
          of_x{long(r.number("x_positions")), long(r.number("x_run")), r.whole_numbers("x_from"), r.whole_numbers("x_to")},
          of_y{long(r.number("y_positions")), long(r.number("y_run")), r.whole_numbers("y_from"), r.whole_numbers("y_to")},
          windows(r.whole_numbers("windows")), places(r.whole_numbers("places")),
          back_counts(r.whole_numbers("back_counts")), back_inputs(r.whole_numbers("back_inputs")),
          back_windows(r.whole_numbers("back_windows")), back_places(r.whole_numbers("back_places")),
          back_kernel(r.whole_numbers("back_kernel")), x_ld(of_x.is_needed() || x.normalization ? x.width : x.ld),
          y_ld(of_y.is_needed() || relu ? y.width : y.ld) {
        check();
    }

  protected:
    // Calls f(phase) for each.
    template <class F> INLINE void over_phases(F f) const {
        Phase phase{};
        for (long k = 0; k < back_counts.count; k += 2) {
            phase.inputs = back_counts.data[k];
            phase.places = back_counts.data[k + 1];
            f(phase);
            phase.first += phase.inputs;
            phase.place += phase.places;
        }
    }

    // A sample of x as windows read it, of its values or its gradient; only these channels count, and
    // these positions.
    INLINE const T* padded_input(const T* values, long sample, T* padded, Range own, Range seen) const {
        const T* from = values + sample * x.rows * x.ld;
        if (!of_x.is_needed() && !x.normalization) return from;
        const auto copy = [&](long count, const T* from, T* to) INLINE_LAMBDA {
            if (x.normalization)
                normalize_rows(count, own.count(), from + own.from, x.ld, *x.normalization, own.from, to + own.from, x_ld);
            else copy_rows(count, own.count(), from + own.from, x.ld, to + own.from, x_ld);
        };
        if (!of_x.is_needed()) {
            copy(seen.count(), from + seen.from * x.ld, padded + seen.from * x_ld);
            return padded;
        }
        std::memset(padded + seen.from * x_ld, 0, size_t(seen.count() * x_ld) * sizeof(T));
        for (long k = 0; k < of_x.from.count; ++k)
            if (const long to = of_x.to.data[k]; seen.from < to + of_x.run && to < seen.to)
                copy(of_x.run, from + of_x.from.data[k] * x.ld, padded + to * x_ld);
        return padded;
    }
    INLINE const T* padded_input(const T* values, long sample, T* padded, Range own) const {
        return padded_input(values, sample, padded, own, {0, of_x.positions});
    }
    INLINE const T* padded_input(const T* values, long sample, T* padded) const {
        return padded_input(values, sample, padded, {0, x.width});
    }
    // The row of x that is at a position of the padded sample; -1: padding.
    long input_at(long position) const {
        if (!of_x.is_needed()) return position;
        for (long k = 0; k < of_x.from.count; ++k)
            if (const long at = position - of_x.to.data[k]; 0 <= at && at < of_x.run) return of_x.from.data[k] + at;
        return -1;
    }
    // Of each sample the sum over all windows of what x has at a place, or 1 for place -1, times the
    // derivative of an output.
    void add_products(long samples, long place, long channel, long output, double* to) const {
        for (long o = 0; o < y.rows; ++o) {
            const long i = place < 0 ? 0 : input_at(windows.data[o] + places.data[place]);
            for (long s = 0; i >= 0 && s < samples; ++s) {
                const double dy = derivative_at(y, relu, s * y.rows + o, output);
                to[s] += place < 0 ? dy : dy * value_at(x, s * x.rows + i, channel);
            }
        }
    }
    // The positions that the windows of these outputs see: in row-major order, the first one's first
    // to the last one's last.
    INLINE Range seen_by(Range outputs) const {
        return {long(windows.data[outputs.from]),
                long(windows.data[outputs.to - 1] + places.data[places.count - 1]) + 1};
    }
    // A sample of dy, times the slope of a fused ReLU.
    const T* derivatives(long sample, T* to) const {
        const long first = sample * y.rows * y.ld;
        if (y.back) {
            back_normalize_rows(y.rows, y.width, y.value + first, y.gradient + first, y.ld, *y.back, to, y.width);
            return to;
        }
        if (!relu) return y.gradient + first;
        for (long i = 0; i < y.rows; ++i)
            with_slope(y.width, y.gradient + first + i * y.ld, y.value + first + i * y.ld, to + i * y.width);
        return to;
    }
    // Rows of derivatives, `ld` apart, as windows of the input's gradient read them.
    const T* padded_rows(const T* from, long ld, T* padded) const {
        if (!of_y.is_needed()) return from;
        std::memset(padded, 0, size_t(of_y.positions * y_ld) * sizeof(T));
        for (long k = 0; k < of_y.from.count; ++k)
            copy_rows(of_y.run, y.width, from + of_y.from.data[k] * ld, ld, padded + of_y.to.data[k] * y_ld, y_ld);
        return padded;
    }
    // The same as windows of the input's gradient read it.
    const T* padded_derivatives(long sample, T* padded) const {
        return of_y.is_needed() ? padded_output(y.gradient, sample, padded) : derivatives(sample, padded);
    }
    // A sample of y as windows of the input's gradient read it, of its values or its gradient.
    const T* padded_output(const T* values, long sample, T* padded) const {
        if (!of_y.is_needed()) return values + sample * y.rows * y.ld;
        std::memset(padded, 0, size_t(of_y.positions * y_ld) * sizeof(T));
        for (long k = 0; k < of_y.from.count; ++k) {
            const long at = (sample * y.rows + of_y.from.data[k]) * y.ld;
            T* const to = padded + of_y.to.data[k] * y_ld;
            if (!relu) copy_rows(of_y.run, y.width, values + at, y.ld, to, y_ld);
            else
                for (long j = 0; j < of_y.run; ++j)
                    with_slope(y.width, values + at + j * y.ld, y.value + at + j * y.ld, to + j * y_ld);
        }
        return padded;
    }
    // Memory that lives as long as the engine.
    static int64_t* integers(const Record<T>& r, long count) {
        return reinterpret_cast<int64_t*>(r.memory(count * long(sizeof(int64_t) / sizeof(T)) + 1));
    }
    // Windows or places in numbers.
    static int64_t* scaled(const Record<T>& r, List<int64_t> positions, long ld) {
        int64_t* const to = integers(r, positions.count);
        for (long k = 0; k < positions.count; ++k) to[k] = positions.data[k] * ld;
        return to;
    }

  private:
    void check() const {
        of_x.check(x.rows);
        of_y.check(y.rows);
        require(windows.count == y.rows && places.count > 0, "there is a window for each output");
        check_windows(windows, places, {0, windows.count, 0, places.count}, of_x.positions);
        require(back_windows.count == x.rows && back_inputs.count == x.rows && back_counts.count % 2 == 0 &&
                    back_places.count == places.count && back_kernel.count == places.count,
                "each input and each place of the kernel belongs to one phase");
        Phase end{};
        over_phases([&](Phase phase) {
            end = {phase.first + phase.inputs, 0, phase.place + phase.places, 0};
            require(phase.inputs >= 0 && phase.places >= 0 && end.first <= x.rows && end.place <= places.count,
                    "a phase has more inputs or places than there are");
            check_windows(back_windows, back_places, phase, of_y.positions);
        });
        require(end.first == x.rows && end.place == places.count, "each input and each place belongs to one phase");
        for (long i = 0; i < x.rows; ++i)
            require(0 <= back_inputs.data[i] && back_inputs.data[i] < x.rows, "there is no such input");
        for (long k = 0; k < places.count; ++k)
            require(0 <= back_kernel.data[k] && back_kernel.data[k] < places.count, "there is no such place");
    }
    static void check_windows(List<int64_t> windows, List<int64_t> places, Phase phase, long positions) {
        for (long i = phase.first; i < phase.first + phase.inputs; ++i)
            for (long k = phase.place; k < phase.place + phase.places; ++k) {
                const int64_t position = windows.data[i] + places.data[k];
                require(0 <= position && position < positions, "a window lies outside of what it reads");
            }
    }
};

}  // namespace chainrule::CHAINRULE_ISA
