// A convolution, as in layers/convolution.py, or ReLU of that: of signals, pictures or volumes, with
// any stride, padding, dilation and groups.
//
// A window is read in place as the row of a matrix (a patch), so that the outputs are a product of
// matrices; so is the gradient of the input, phase by phase.
//
// Settings: groups; sliced: whether each slice of a mini-batch has a gradient of its own; and those of
// windows.h.
#pragma once

#include "product.h"
#include "slices.h"
#include "windows.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Conv : Windows<T> {
    using Windows<T>::x, Windows<T>::y, Windows<T>::x_ld, Windows<T>::y_ld, Windows<T>::of_x, Windows<T>::of_y;
    using Windows<T>::relu, Windows<T>::places;
    long groups, in, out;  // channels of a group
    long W, b;             // b < 0: no bias
    bool sliced;
    long run;              // places that follow each other in the input
    const int64_t *starts, *segments, *back_starts, *back_segments;  // windows and places, in numbers
    explicit Conv(const Record<T>& r)
        : Windows<T>(r), groups(long(r.number("groups"))), in(x.width / groups), out(y.width / groups),
          W(r.parameter("W", places.count * in * y.width)), b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), sliced(r.flag("sliced")),
          run(longest_run()), starts(this->scaled(r, this->windows, x_ld)), segments(this->scaled(r, places, x_ld)),
          back_starts(this->scaled(r, this->back_windows, y_ld)),
          back_segments(this->scaled(r, this->back_places, y_ld)) {
        require(groups >= 1 && in * groups == x.width && out * groups == y.width, "channels must be whole groups");
    }

    bool normalizes_input() const override { return true; }
    bool shows() const override { return true; }

    long scratch() const override {
        const long forward = of_x.positions * x_ld + prepared_size();
        const long input = of_y.positions * y_ld + groups * panels<T>(places.count * out, in) + x.rows * in;
        const long backward = for_kernel() + (this->wants_input ? input : 0);
        return (forward > backward ? forward : backward) + 8 * MAX_LANES;
    }
    long shared_scratch() const override {
        return sliced ? SLICES * slice_size(parameters()) : 0;
    }

    // The kernel in panels, for each group.
    long prepared_size() const override { return groups * panels<T>(kernel(), out); }
    void prepare(const T* w, T* to) const override {
        for (long g = 0; g < groups; ++g)
            pack_panels<T>({kernel(), out, w + W + g * out, y.width, 1}, to + g * panels<T>(kernel(), out));
    }

    void forward(const Pass<T>& p) override {
        T *const padded = p.scratch, *const packed = aligned(padded + of_x.positions * x_ld);
        if (!p.prepared) prepare(p.w, packed);
        const auto compute = [&](Range rows) { this->compute(p, rows, p.prepared ? p.prepared : packed); };
        if (p.shows(y)) p.write_by_groups(y, [&](Range own) { compute({own.from * y.rows, own.to * y.rows}); });
        else compute(p.rows(y));  // which may begin and end within a sample
    }

    void backward(const Pass<T>& p) override {
        const Derived d = prepare_derived(p);
        if (!sliced) {
            if (this->wants_input) p.derive_by_groups(x, [&](Range own) { derive(own, d); });
            add_kernel(p, {0, p.samples}, p.share(kernel(), 2), p.g + W, b < 0 ? nullptr : p.g + b, false);
            return;
        }
        in_slices(p, x, parameters(), [&](Range samples, T* gradient) {
            if (this->wants_input) derive(samples, d);
            add_kernel(p, samples, {0, kernel()}, gradient, b < 0 ? nullptr : gradient + kernel() * y.width, true);
        });
        add_slices(p, parameters(), 0, kernel() * y.width, p.g + W);
        if (b >= 0) add_slices(p, parameters(), kernel() * y.width, y.width, p.g + b);
    }

    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        if (b >= 0 && b <= at && at < b + y.width) return this->add_products(p.samples, -1, 0, at - b, to);
        const long row = (at - W) / y.width, output = (at - W) % y.width;
        this->add_products(p.samples, row / in, output / out * in + row % in, output, to);
    }

  protected:
    long parameters() const { return kernel() * y.width + (b < 0 ? 0 : y.width); }

  private:
    // Rows of the output, with the packed kernel.
    void compute(const Pass<T>& p, Range own, const T* panel) const {
        T* const padded = p.scratch;
        const long of_group = panels<T>(kernel(), out);
        for (long row = own.from, count; row < own.to; row += count) {
            const long sample = row / y.rows, first = row % y.rows;
            count = y.rows - first < own.to - row ? y.rows - first : own.to - row;
            const Range seen = this->seen_by({first, first + count});
            const T* input = this->padded_input(x.value, sample, padded, {0, x.width}, seen);
            for (long g = 0; g < groups; ++g) {
                PatchProduct<T> work{count, out, input + g * in, starts + first, segments, places.count / run, run * in,
                                     run, panel + g * of_group, y.value + row * y.ld + g * out, y.ld};
                work.bias = b < 0 ? nullptr : p.w + b + g * out;
                work.epilogue = relu ? Epilogue::relu : Epilogue::nothing;
                patch_product(work);
            }
        }
    }

    // Scratch for the kernel's gradient.
    long for_kernel() const {
        const long pointers = samples_at_a_time() * y.rows * long((sizeof(T*) + sizeof(T) - 1) / sizeof(T));
        return samples_at_a_time() * (of_x.positions * x_ld + y.rows * y.width) + pointers + 2 * MAX_LANES;
    }

    // Rows of W.
    long kernel() const { return places.count * in; }
    // Products over few positions take several samples together.
    long samples_at_a_time() const { return y.rows >= 512 ? 1 : 512 / y.rows; }

    // Places that follow each other in the input are read as one segment.
    long longest_run() const {
        if (groups > 1 || x_ld != x.width) return 1;
        long longest = 1;
        while (longest < places.count && places.data[longest] == places.data[longest - 1] + 1) ++longest;
        if (places.count % longest) return 1;
        for (long k = 0; k < places.count; ++k)
            if (places.data[k] != places.data[k / longest * longest] + k % longest) return 1;
        return longest;
    }

    // The kernel, transposed, and what the derivatives of one sample take.
    struct Derived {
        T *padded, *packed, *result;
    };
    Derived prepare_derived(const Pass<T>& p) const {
        Derived d;
        d.padded = aligned(p.scratch + for_kernel());
        d.packed = aligned(d.padded + of_y.positions * y_ld);
        d.result = d.packed + groups * panels<T>(places.count * out, in);
        if (this->wants_input) pack_transposed(p.w + W, d.packed);
        return d;
    }
    void derive(Range own, const Derived& d) const {
        for (long sample = own.from; sample < own.to; ++sample)
            derive_sample(this->padded_derivatives(sample, d.padded), d.packed, d.result,
                          x.gradient + sample * x.rows * x.ld);
    }
    void derive_sample(const T* dy, const T* panel, T* result, T* dx) const {
        this->over_phases([&](Phase phase) INLINE_LAMBDA {
            const long rows = phase.places * out;
            for (long g = 0; g < groups; ++g, panel += panels<T>(rows, in)) {
                PatchProduct<T> work{phase.inputs, in, dy + g * out, back_starts + phase.first,
                                     back_segments + phase.place, phase.places, out, 1, panel, result, in};
                patch_product(work);
                for (long i = 0; i < phase.inputs; ++i)
                    std::memcpy(dx + this->back_inputs.data[phase.first + i] * x.ld + g * in, result + i * in,
                                size_t(in) * sizeof(T));
            }
        });
    }
    // W transposed, by phases and groups: its rows are places and channels out, its columns channels
    // in.
    void pack_transposed(const T* w, T* packed) const {
        this->over_phases([&](Phase phase) INLINE_LAMBDA {
            const long rows = phase.places * out;
            for (long g = 0; g < groups; ++g, packed += panels<T>(rows, in))
                for (long k = 0; k < phase.places; ++k) {
                    const T* place = w + this->back_kernel.data[phase.place + k] * in * y.width;
                    pack_panels(Matrix<T>{out, in, place + g * out, 1, y.width}, packed, rows, k * out);
                }
        });
    }

    // The gradient of some rows of W, and that of b if the first is among them, of some samples in order.
    void add_kernel(const Pass<T>& p, Range samples, Range own, T* dW, T* db, bool accumulate) const {
        if (!own.count()) return;
        const long most = samples_at_a_time(), size = of_x.positions * x_ld;
        const Range channels = places.count == 1 && groups == 1 ? own : Range{0, x.width};  // that are read
        T *const padded = p.scratch, *const with = aligned(padded + most * size);
        const T** const patches = reinterpret_cast<const T**>(aligned(with + most * y.rows * y.width));
        for (long sample = samples.from, here; sample < samples.to; sample += here) {
            here = samples.to - sample < most ? samples.to - sample : most;
            for (long s = 0; s < here; ++s) {
                const T* input = this->padded_input(x.value, sample + s, padded + s * size, channels);
                for (long i = 0; i < y.rows; ++i) patches[s * y.rows + i] = input + starts[i];
                this->derivatives(sample + s, with + s * y.rows * y.width);
            }
            const T* dy = relu ? with : y.gradient + sample * y.rows * y.ld;
            for (long from = own.from, to; from < own.to; from = to) {
                const long segment = from / (run * in), end = (segment + 1) * run * in;
                to = end < own.to ? end : own.to;
                for (long g = 0; g < groups; ++g) {
                    Product<T> dw{to - from, out, here * y.rows, nullptr, 1, 2, dy + g * out, relu ? y.width : y.ld, 1,
                                  dW + from * y.width + g * out, y.width};
                    dw.samples = patches;
                    dw.a_from = segments[segment * run] + g * in + from - segment * run * in;
                    dw.whole = false;
                    dw.accumulate = accumulate || sample > samples.from;
                    dw.pack = p.pack;
                    if (db && from == 0) dw.sums = db + g * out;
                    product(dw);
                }
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA
