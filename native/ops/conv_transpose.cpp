// The transpose of a convolution, as in layers/convolution.py: of signals, pictures or volumes, with
// any stride, padding, dilation and groups.
//
// Settings: groups, and those of windows.h for the convolution from its output to its input.
#include "../product.h"
#include "../windows.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct ConvTranspose : Windows<T> {
    // x has the windows, and y one row for each: the other way round than the layer's values.
    using Windows<T>::x, Windows<T>::y, Windows<T>::x_ld, Windows<T>::y_ld, Windows<T>::of_x, Windows<T>::of_y;
    using Windows<T>::places;
    long groups, in, out;  // channels of a group
    long W, b;             // b < 0: no bias
    const int64_t *starts, *segments, *back_starts, *back_segments;  // windows and places, in numbers
    explicit ConvTranspose(const Record<T>& r)
        : Windows<T>(r, true), groups(long(r.number("groups"))), in(y.width / groups), out(x.width / groups),
          W(r.parameter("W", places.count * in * x.width)), b(r.has_parameter("b") ? r.parameter("b", x.width) : -1),
          starts(this->scaled(r, this->windows, x_ld)), segments(this->scaled(r, places, x_ld)),
          back_starts(this->scaled(r, this->back_windows, y_ld)),
          back_segments(this->scaled(r, this->back_places, y_ld)) {
        require(groups >= 1 && in * groups == y.width && out * groups == x.width, "channels must be whole groups");
    }

    long scratch() const override {
        const long forward = of_y.positions * y_ld + groups * panels<T>(places.count * in, out) + x.rows * out;
        const long backward = of_x.positions * x_ld + groups * panels<T>(places.count * out, in);
        const long weights = of_x.positions * x_ld + y.rows * x.width;
        const long most = forward > backward ? forward : backward;
        return (most > weights ? most : weights) + MAX_LANES;
    }

    void forward(const Pass<T>& p) override {
        const Range own = p.share(p.samples, 1);
        if (!own.count()) return;
        T *const padded = p.scratch, *const packed = padded + of_y.positions * y_ld;
        T* const result = packed + groups * panels<T>(places.count * in, out);
        pack_by_phases(p.w + W, packed);
        for (long sample = own.from; sample < own.to; ++sample) {
            const T *input = this->padded_output(y.value, sample, padded), *panel = packed;
            T* const to = x.value + sample * x.rows * x.ld;
            this->over_phases([&](Phase phase) INLINE_LAMBDA {
                const long rows = phase.places * in;
                for (long g = 0; g < groups; ++g, panel += panels<T>(rows, out)) {
                    PatchProduct<T> work{phase.inputs, out, input + g * in, back_starts + phase.first,
                                         back_segments + phase.place, phase.places, in, 1, panel, result, out};
                    work.bias = b < 0 ? nullptr : p.w + b + g * out;
                    patch_product(work);
                    for (long i = 0; i < phase.inputs; ++i)
                        std::memcpy(to + this->back_inputs.data[phase.first + i] * x.ld + g * out, result + i * out,
                                    size_t(out) * sizeof(T));
                }
            });
        }
    }

    void backward(const Pass<T>& p) override {
        if (this->wants_input) backward_input(p);
        backward_kernel(p);
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_b = b >= 0 && b <= at && at < b + x.width;
        const long row = (at - W) / x.width, output = of_b ? at - b : (at - W) % x.width;
        const long place = row / in, channel = output / out * in + row % in;
        for (long k = 0; k < (of_b ? x.rows : y.rows); ++k) {
            const long i = of_b ? k : this->input_at(this->windows.data[k] + places.data[place]);
            for (long s = 0; i >= 0 && s < p.samples; ++s) {
                const double dx = x.gradient[(s * x.rows + i) * x.ld + output];
                to[s] += of_b ? dx : dx * y.value[(s * y.rows + k) * y.ld + channel];
            }
        }
    }

  private:
    void pack_by_phases(const T* w, T* packed) const {
        this->over_phases([&](Phase phase) INLINE_LAMBDA {
            const long rows = phase.places * in;
            for (long g = 0; g < groups; ++g, packed += panels<T>(rows, out))
                for (long k = 0; k < phase.places; ++k) {
                    const T* place = w + this->back_kernel.data[phase.place + k] * in * x.width;
                    pack_panels(Matrix<T>{in, out, place + g * out, x.width, 1}, packed, rows, k * in);
                }
        });
    }

    void backward_input(const Pass<T>& p) {
        const Range own = p.share(p.samples, 1);
        if (!own.count()) return;
        T *const padded = p.scratch, *const packed = padded + of_x.positions * x_ld;
        const long rows = places.count * out;
        for (long g = 0; g < groups; ++g)
            for (long k = 0; k < places.count; ++k)
                pack_panels(Matrix<T>{out, in, p.w + W + k * in * x.width + g * out, 1, x.width},
                            packed + g * panels<T>(rows, in), rows, k * out);
        for (long sample = own.from; sample < own.to; ++sample) {
            const T* dy = this->padded_input(x.gradient, sample, padded);
            for (long g = 0; g < groups; ++g)
                patch_product(PatchProduct<T>{y.rows, in, dy + g * out, starts, segments, places.count, out, 1,
                                              packed + g * panels<T>(rows, in),
                                              y.gradient + sample * y.rows * y.ld + g * in, y.ld});
        }
    }

    // Divided by rows of W: each thread goes through all samples in order.
    void backward_kernel(const Pass<T>& p) {
        const Range own = p.share(places.count * in, 2);
        if (!own.count()) return;
        T *const padded = p.scratch, *const there = padded + of_x.positions * x_ld;
        T* const db = b >= 0 && own.from == 0 ? p.g + b : nullptr;
        if (db) std::memset(db, 0, size_t(x.width) * sizeof(T));
        for (long sample = 0; sample < p.samples; ++sample) {
            const T* dy = this->padded_input(x.gradient, sample, padded);
            if (db) for (long i = 0; i < x.rows; ++i) {
                const T* row = x.gradient + (sample * x.rows + i) * x.ld;
                over<T>(x.width, [=](long c, auto get, auto put) { put(db + c, get(db + c) + get(row + c)); });
            }
            for (long from = own.from, to; from < own.to; from = to) {
                const long place = from / in, channel = from % in;
                to = (place + 1) * in < own.to ? (place + 1) * in : own.to;
                for (long i = 0; i < y.rows; ++i)
                    std::memcpy(there + i * x.width, dy + starts[i] + segments[place], size_t(x.width) * sizeof(T));
                for (long g = 0; g < groups; ++g) {
                    const T* input = y.value + sample * y.rows * y.ld + g * in + channel;
                    Product<T> dw{to - from, out, y.rows, input, 1, y.ld, there + g * out, x.width, 1,
                                  p.g + W + from * x.width + g * out, x.width};
                    dw.whole = false;
                    dw.accumulate = sample > 0;
                    dw.pack = p.pack;
                    product(dw);
                }
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(conv_transpose, ConvTranspose)
