// A depthwise convolution, as in layers/convolution.py with as many groups as channels in and out, or
// ReLU of that: each channel is multiplied by a kernel of its own.
//
// Settings: those of windows.h.
#include "../windows.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Depthwise : Windows<T> {
    using Windows<T>::x, Windows<T>::y, Windows<T>::x_ld, Windows<T>::y_ld, Windows<T>::of_x, Windows<T>::of_y;
    using Windows<T>::relu, Windows<T>::places;
    long W, b;  // b < 0: no bias
    const int64_t *starts, *segments, *back_starts, *back_segments;  // windows and places, in numbers
    explicit Depthwise(const Record<T>& r)
        : Windows<T>(r), W(r.parameter("W", places.count * y.width)),
          b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), starts(this->scaled(r, this->windows, x_ld)),
          segments(this->scaled(r, places, x_ld)), back_starts(this->scaled(r, this->back_windows, y_ld)),
          back_segments(this->scaled(r, this->back_places, y_ld)) {
        require(x.width == y.width, "a depthwise convolution has as many channels out as in");
    }

    bool normalizes_input() const override { return true; }

    long scratch() const override { return of_x.positions * x_ld + of_y.positions * y_ld + MAX_LANES; }

    void forward(const Pass<T>& p) override {
        const Range own = p.rows(y);  // which may begin and end within a sample
        for (long row = own.from, end; row < own.to; row = end) {
            const long sample = row / y.rows;
            end = (sample + 1) * y.rows < own.to ? (sample + 1) * y.rows : own.to;
            const long last = end - sample * y.rows;
            const Range seen = this->seen_by({row % y.rows, last});
            const T* input = this->padded_input(x.value, sample, p.scratch, {0, x.width}, seen);
            T* const to = y.value + sample * y.rows * y.ld;
            const T *w = p.w + W, *bias = b < 0 ? nullptr : p.w + b;
            for (long o = row % y.rows; o < last; o += TOGETHER) {
                const long here = last - o < TOGETHER ? last - o : TOGETHER;
                const T* from[TOGETHER];
                for (long i = 0; i < TOGETHER; ++i) from[i] = input + starts[o + (i < here ? i : 0)];
                over<T>(y.width, [&](long c, auto get, auto put) {
                    Vec<T> sums[TOGETHER];
                    for (long i = 0; i < TOGETHER; ++i) __builtin_prefetch(to + (o + TOGETHER + i) * y.ld + c, 1, 3);
#pragma GCC unroll 4
                    for (long i = 0; i < TOGETHER; ++i) sums[i] = bias ? get(bias + c) : Vec<T>{};
                    for (long k = 0; k < places.count; ++k) {
                        const Vec<T> weight = get(w + k * y.width + c);
                        const long at = segments[k] + c;
#pragma GCC unroll 4
                        for (long i = 0; i < TOGETHER; ++i) sums[i] += get(from[i] + at) * weight;
                    }
#pragma GCC unroll 4
                    for (long i = 0; i < TOGETHER; ++i)  // sums stay in registers: no index is unknown
                        if (i < here) put(to + (o + i) * y.ld + c, relu ? Vec<T>(T(0) > sums[i] ? Vec<T>{} : sums[i]) : sums[i]);
                });
            }
        }
    }

    void backward(const Pass<T>& p) override {
        if (this->wants_input) backward_input(p);
        backward_kernel(p);
    }

  private:
    static constexpr long TOGETHER = 4;  // outputs that share a weight in a register

    void backward_input(const Pass<T>& p) {
        const Range own = p.share(p.samples, 1);
        for (long sample = own.from; sample < own.to; ++sample) {
            const T *dy = this->padded_derivatives(sample, p.scratch), *w = p.w + W;
            T* const dx = x.gradient + sample * x.rows * x.ld;
            this->over_phases([&](Phase phase) INLINE_LAMBDA {
                for (long i = phase.first; i < phase.first + phase.inputs; ++i) {
                    T* const to = dx + this->back_inputs.data[i] * x.ld;
                    const T* const from = dy + back_starts[i];
                    over<T>(x.width, [&](long c, auto get, auto put) {
                        Vec<T> sum = {};
                        __builtin_prefetch(to + 4 * x.ld + c, 1, 3);
                        for (long k = phase.place; k < phase.place + phase.places; ++k)
                            sum += get(from + back_segments[k] + c) *
                                   get(w + this->back_kernel.data[k] * y.width + c);
                        put(to + c, sum);
                    });
                }
            });
        }
    }

    // Divided by channels: each thread goes through all samples in order.
    void backward_kernel(const Pass<T>& p) {
        const Range own = p.share(y.width, MAX_LANES);
        if (!own.count()) return;
        T *const padded = p.scratch, *const with = padded + of_x.positions * x_ld;
        T *const dw = p.g + W + own.from, *const db = b < 0 ? nullptr : p.g + b + own.from;
        for (long k = 0; k < places.count; ++k) std::memset(dw + k * y.width, 0, size_t(own.count()) * sizeof(T));
        if (db) std::memset(db, 0, size_t(own.count()) * sizeof(T));
        for (long sample = 0; sample < p.samples; ++sample) {
            const T *input = this->padded_input(x.value, sample, padded, own) + own.from;
            const T* dy = this->derivatives(sample, with) + own.from;
            const long ld = relu ? y.width : y.ld;
            for (long first = 0; first < places.count; first += KERNEL) {
                const long here = places.count - first < KERNEL ? places.count - first : KERNEL;
                long at[KERNEL];
                for (long k = 0; k < KERNEL; ++k) at[k] = segments[first + (k < here ? k : 0)];
                over<T>(own.count(), [&](long c, auto get, auto put) {
                    Vec<T> sums[KERNEL] = {};
                    for (long o = 0; o < y.rows; ++o) {
                        const Vec<T> arriving = get(dy + o * ld + c);
                        const T* from = input + starts[o] + c;
#pragma GCC unroll 9
                        for (long k = 0; k < KERNEL; ++k) sums[k] += get(from + at[k]) * arriving;
                    }
#pragma GCC unroll 9
                    for (long k = 0; k < KERNEL; ++k) {
                        if (k >= here) break;
                        T* const to = dw + (first + k) * y.width + c;
                        put(to, get(to) + sums[k]);
                    }
                });
            }
            if (db) for (long o = 0; o < y.rows; ++o)
                over<T>(own.count(), [&](long c, auto get, auto put) { put(db + c, get(db + c) + get(dy + o * ld + c)); });
        }
    }
    static constexpr long KERNEL = 9;  // places whose gradients fit into registers
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(depthwise, Depthwise)
