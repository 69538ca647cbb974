// Gradient descent: a chain of optimizer stages over the flat vectors, in pieces that fit into the
// L1 cache.
//
// A stage that needs whole arrays (for their norms, or to transform a matrix or the whole
// gradient) divides the chain into passes: the pass before it writes its result over the gradient,
// the stage works on that, and the next pass reads it. Sums are stored by piece and added in
// order, so they don't depend on the number of threads.
//
// Without such stages and without penalties, a part of an array can be stepped as soon as its
// gradient is known: the operation then gives it to `take` while it is still cached, and `step`
// does the rest.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "library.h"
#include "memory.h"
#include "product.h"
#include "record.h"
#include "threads.h"

namespace chainrule {

struct PenaltyOn {
    double l1, l2;
    std::vector<char> on;  // whether it applies to each array
};

template <class T> struct DescentStage {
    std::unique_ptr<Stored<Settings>> settings;
    std::vector<char> on;                          // whether it applies to each array; empty: to all
    std::vector<std::unique_ptr<Stage<T>>> own;    // of each thread
    std::vector<T> factors;  // by which it multiplied each array in the last step, if it needs whole ones

    Stage<T>& at(int t) const { return *own[size_t(t)]; }
    bool applies(size_t array) const { return on.empty() || on[array]; }
};

template <class T> class Descent : public GradientSink<T> {
  public:
    Descent(const Library<T>& library, int threads) : library_(library), threads_(threads) {}

    std::vector<Range> arrays;
    std::vector<long> columns;  // of each matrix; 0 for an array that is not a matrix
    std::vector<PenaltyOn> penalties;
    std::vector<DescentStage<T>> stages;
    double penalty = 0;  // the penalties' value in the last step

    void add(std::unique_ptr<Stored<Settings>> settings, std::vector<char> on) {
        DescentStage<T> stage{std::move(settings), std::move(on), {}};
        for (int t = 0; t < threads_; ++t) {
            stage.own.emplace_back(library_.stage(stage.settings->kind.c_str(), *stage.settings));
            if (!stage.own.back()) throw std::invalid_argument("there is no stage " + stage.settings->kind);
        }
        stages.push_back(std::move(stage));
    }

    // `in_parts`: where the parameters begin whose gradients can be taken in parts; `own`: this rank's
    // share of the parameters, if there are several ranks.
    void finish(long size, const std::vector<long>& in_parts, const std::vector<Range>& own = {}) {
        size_ = size;
        propagates_nonfinite_ = stages.empty() || (stages[0].at(0).propagates_nonfinite() && stages[0].on.empty());
        const auto any = [this](auto holds) { return std::any_of(stages.begin(), stages.end(), holds); };
        const bool whole = any([](auto& s) { return s.at(0).is_whole(); });
        has_line_search_ = any([](auto& s) { return s.at(0).searches(); });
        by_parts_ = size > LARGE && penalties.empty() && !whole;
        stepped_.assign(arrays.size() + 1, 0);
        for (const long start : in_parts)
            if (by_parts_) stepped_[array_at(start)] = 1;
        checks_.assign(size_t(threads_), 0);
        can_divide_ = !own.empty() && penalties.empty() && !whole;
        divide(any([](auto& s) { return !s.on.empty() || s.at(0).is_by_array(); }) || !penalties.empty() || size > LARGE);
        if (can_divide_) divide_among_ranks(own);
        allocate_scratch();
    }

    // Returns the mean loss of the same mini-batch at weights w, without penalties, and sets g to
    // its gradient. Called by all threads together.
    using LossAt = std::function<double(const T* w, T* g)>;

    // Takes one step; called by every thread. g is the gradient, and is overwritten. `gradient`
    // and `update`, if not null, receive the whole gradient (with penalties) and the update that
    // was subtracted. `loss` is the current loss; it and `loss_at` are only used by a line search.
    // Returns false on a thread that found a number that is not finite. `divided`: only this rank's share.
    bool step(T* w, T* g, T* gradient, T* update, int t, Barrier& barrier, const double& loss, const LossAt& loss_at,
              bool divided = false) {
        if (divided) return step_own(w, g, t, barrier);
        StepState state{w, g, gradient || !has_line_search_ ? gradient : gradient_.data(), update, t};
        state.check = checks_[size_t(t)];
        checks_[size_t(t)] = 0;
        while (!state.ended) {
            prepare(state);
            for (const long p : pieces_of_[size_t(t)])
                if (!stepped_[size_t(pieces_[size_t(p)].array)] || state.gradient || !by_parts_) step_piece(state, p);
            if (state.last || state.ended) break;
            barrier.wait();
            apply_to_whole(state, barrier, loss, loss_at);
            barrier.wait();
            state.first = false;
            state.from = state.to + 1;
        }
        const T check = state.check;
        barrier.wait();
        if (t == 0) end_step();
        return check == 0;
    }

    bool has_line_search() const { return has_line_search_; }

    // Whether each rank can step its share of the weights: every weight by itself.
    bool can_divide() const { return can_divide_; }

    // Whether gradients of arrays may be taken in parts; `step` then skips these arrays.
    bool by_parts() const { return by_parts_; }

    // Prepares the step's calls of `take`; called by every thread.
    void begin_step(T* w, int t) {
        if (t == 0) weights_ = w;
        checks_[size_t(t)] = 0;
        for (DescentStage<T>& stage : stages) stage.at(t).begin();
    }

    // Steps weights [from, to), which are in one array.
    void take(const T* g, long from, long to, int t) override {
        const size_t array = array_at(from);
        alignas(64) T u[PIECE + PADDING];
        T check = 0;
        size_t stop = stages.size();
        for (size_t k = 0; k < stages.size(); ++k)
            if (stages[k].at(t).ends_step()) stop = k + 1;
        const bool ends = stop && stages[stop - 1].at(t).ends_step();
        const T* const by = ends || !stop ? nullptr : factor_of(stop - 1, t);
        if (by) --stop;
        for (long at = from; at < to; at += PIECE) {
            const long count = std::min(PIECE, to - at);
            const T* in = g + (at - from);
            if (!propagates_nonfinite_) {
                check += library_.take(count, in, u);
                in = u;
            }
            if (!ends) check += descend(0, stop, by ? *by : T(1), array, at, count, in, u, weights_, t);
            else
                for (size_t k = 0; k < stop; ++k) in = apply(k, array, at, count, in, u, weights_, t);
        }
        checks_[size_t(t)] += check;
    }

    // The array that has the parameter at a place.
    size_t array_at(long place) const {
        for (size_t a = 0; a < arrays.size(); ++a)
            if (arrays[a].from <= place && place < arrays[a].to) return a;
        throw std::invalid_argument("a parameter is in none of the arrays");
    }

    static constexpr long PIECE = 2048, LARGE = 50000;

  private:
    struct Piece {
        long from, count;
        int array;
    };
    const Library<T>& library_;
    const int threads_;
    long size_ = 0;
    std::vector<Piece> pieces_;
    std::vector<std::vector<long>> pieces_of_;  // of each thread
    std::vector<double> g_squares_, w_squares_, penalty_parts_;

    T* weights_ = nullptr;  // in this step
    bool by_parts_ = false, propagates_nonfinite_ = false, can_divide_ = false;
    std::vector<std::vector<Piece>> own_of_;  // this rank's share, by thread
    std::vector<char> stepped_;  // which arrays are stepped in parts
    std::vector<T> checks_;      // of each thread's parts: NaN if a number was not finite

    // For stages that need whole arrays: the sums of each array's squares, and their scratch.
    struct Sums {
        double all;
        std::vector<double> g, w;
    } sums_;
    std::array<AlignedVector<T>, SLOTS> scratch_;
    std::vector<AlignedVector<T>> packs_;
    // Whether there is a line search, which needs the gradients here and at trial weights.
    bool has_line_search_ = false;
    AlignedVector<T> gradient_, trial_weights_, trial_gradient_;
    std::vector<double> trial_parts_;
    Trial trial_{};

    // Divides the weights into pieces, every one in a single array if `by_array`. Every thread takes
    // a contiguous share of each array, as it does of the array's gradient.
    void divide(bool by_array) {
        std::vector<Range> ranges = arrays;
        if (!by_array) ranges = {{0, size_}};
        pieces_.clear();
        for (size_t a = 0; a < ranges.size(); ++a)
            for (long from = ranges[a].from; from < ranges[a].to; from += PIECE)
                pieces_.push_back({from, std::min(PIECE, ranges[a].to - from), int(a)});
        pieces_of_.assign(size_t(threads_), {});
        for (size_t begin = 0, end = 0; begin < pieces_.size(); begin = end) {
            while (end < pieces_.size() && pieces_[end].array == pieces_[begin].array) ++end;
            for (int t = 0; t < threads_; ++t) {
                const Range r = share(long(end - begin), 1, t, threads_);
                for (long p = r.from; p < r.to; ++p) pieces_of_[size_t(t)].push_back(long(begin) + p);
            }
        }
        g_squares_.assign(pieces_.size(), 0);
        w_squares_.assign(pieces_.size(), 0);
        penalty_parts_.assign(pieces_.size(), 0);
    }

    // The pieces in this rank's share, for each thread.
    void divide_among_ranks(const std::vector<Range>& own) {
        std::vector<Piece> pieces;
        for (const Range range : own)
            for (const Piece& piece : pieces_) {
                const long from = std::max(range.from, piece.from), to = std::min(range.to, piece.from + piece.count);
                if (from < to) pieces.push_back({from, to - from, piece.array});
            }
        own_of_.assign(size_t(threads_), {});
        for (int t = 0; t < threads_; ++t) {
            const Range r = share(long(pieces.size()), 1, t, threads_);
            own_of_[size_t(t)].assign(pieces.begin() + r.from, pieces.begin() + r.to);
        }
    }

    bool step_own(T* w, T* g, int t, Barrier& barrier) {
        StepState state{w, g, nullptr, nullptr, t};
        prepare(state);
        for (const Piece& piece : own_of_[size_t(t)]) step_elements(state, piece);
        const T check = state.check;
        barrier.wait();
        if (t == 0) end_step();
        return check == 0;
    }

    void allocate_scratch() {
        long numbers = 0, shorter = 0;
        for (size_t a = 0; a < arrays.size(); ++a) {
            if (!columns[a]) continue;
            numbers = std::max(numbers, arrays[a].count());
            shorter = std::max(shorter, std::min(columns[a], arrays[a].count() / columns[a]));
        }
        bool any = false;
        for (int slot = 0; slot < SLOTS; ++slot) {
            long most = 0;
            for (const DescentStage<T>& stage : stages)
                most = std::max(most, stage.at(0).scratch(slot, numbers, shorter));
            if (most) scratch_[size_t(slot)].resize(size_t(most + PADDING));
            any |= most > 0;
        }
        packs_.resize(size_t(threads_));
        for (auto& pack : packs_)
            if (any) pack.resize(PACK + PADDING);
        if (!has_line_search_) return;
        for (auto* vector : {&gradient_, &trial_weights_, &trial_gradient_}) vector->resize(size_t(size_ + PADDING));
        trial_parts_.assign(pieces_.size(), 0);
    }

    // The factor of a stage that does nothing but multiply all weights by one.
    const T* factor_of(size_t k, int t) const { return stages[k].on.empty() ? stages[k].at(t).factor() : nullptr; }

    // Applies stage k to `in`; returns where the result is: in u, or `in` where the stage does not
    // apply.
    const T* apply(size_t k, size_t array, long from, long count, const T* in, T* u, T* w, int t) {
        if (!stages[k].applies(array)) return in;
        stages[k].at(t).apply(from, count, in, u, w + from);
        return u;
    }

    // Applies stages [k, stop) and subtracts the result times `factor`, in the same pass as the
    // last stage.
    T descend(size_t k, size_t stop, T factor, size_t array, long from, long count, const T* in, T* u, T* w, int t) {
        const bool subtracts = stop > k && stages[stop - 1].applies(array);
        for (; k < (subtracts ? stop - 1 : stop); ++k) in = apply(k, array, from, count, in, u, w, t);
        if (!subtracts) return library_.subtract(count, factor, in, u, w + from);
        return stages[stop - 1].at(t).subtract(from, count, factor, in, w + from);
    }

    // The state of one step: in the pass over stages [from, to), of which those before `stop` run.
    struct StepState {
        T *w, *g, *gradient, *update;
        int t;
        size_t from = 0, to = 0, stop = 0;
        // Pass; `ended`: a stage only accumulates in this step.
        bool first = true, last = false, ended = false;
        T factor = 1;  // a learning rate at the end, which is applied as the update is subtracted
        T check = 0;
    };

    void prepare(StepState& state) {
        state.to = state.from;
        while (state.to < stages.size() && !stages[state.to].at(state.t).is_whole()) ++state.to;
        state.stop = state.to;
        for (size_t k = state.from; k < state.to && !state.ended; ++k) {
            Stage<T>& stage = stages[k].at(state.t);
            stage.begin();
            state.ended = stage.ends_step();
            if (state.ended) state.stop = k + 1;
        }
        state.last = state.to == stages.size() && !state.ended;
        const T* const by = state.last && state.to > state.from ? factor_of(state.to - 1, state.t) : nullptr;
        state.factor = by ? *by : T(1);
        if (by) --state.stop;
    }

    // A piece of a chain without stages that need whole arrays, whose gradient and update nobody wants.
    void step_elements(StepState& state, const Piece& piece) {
        alignas(64) T u[PIECE + PADDING];
        const T* in = state.g + piece.from;
        if (!propagates_nonfinite_) {
            state.check += library_.take(piece.count, in, u);
            in = u;
        }
        if (state.last)
            state.check += descend(state.from, state.stop, state.factor, size_t(piece.array), piece.from, piece.count, in, u,
                                   state.w, state.t);
        else
            for (size_t k = state.from; k < state.stop; ++k)
                in = apply(k, size_t(piece.array), piece.from, piece.count, in, u, state.w, state.t);
    }

    void step_piece(StepState& state, long p) {
        const Piece piece = pieces_[size_t(p)];
        const size_t bytes = size_t(piece.count) * sizeof(T), array = size_t(piece.array);
        alignas(64) T u[PIECE + PADDING];
        const T* in = state.g + piece.from;
        T* const w = state.w + piece.from;
        if (!state.first || !propagates_nonfinite_ || state.gradient || !penalties.empty()) {
            state.check += library_.take(piece.count, in, u);
            in = u;
        }
        if (state.first) {
            penalty_parts_[size_t(p)] = penalize(p, state.w, u);
            if (state.gradient) std::memcpy(state.gradient + piece.from, u, bytes);
        } else library_.scale(piece.count, stages[state.from - 1].factors[array], u, u);
        if (state.last && !state.update) {
            state.check += descend(state.from, state.stop, state.factor, array, piece.from, piece.count, in, u, state.w,
                                   state.t);
            return;
        }
        for (size_t k = state.from; k < state.stop; ++k)
            in = apply(k, array, piece.from, piece.count, in, u, state.w, state.t);
        if (state.ended) {
            if (state.update) std::memset(state.update + piece.from, 0, bytes);
        } else if (state.last) {
            state.check += library_.subtract(piece.count, state.factor, in, u, w);
            std::memcpy(state.update + piece.from, u, bytes);
        } else {
            if (in != state.g + piece.from) std::memcpy(state.g + piece.from, in, bytes);
            g_squares_[size_t(p)] = library_.dot(piece.count, in, in);
            if (stages[state.to].at(state.t).uses_w_squares()) w_squares_[size_t(p)] = library_.dot(piece.count, w, w);
        }
    }

    // Adds the penalties' derivatives to the gradient u of piece p and returns their value there.
    double penalize(long p, const T* w, T* u) const {
        double value = 0;
        const Piece piece = pieces_[size_t(p)];
        for (const PenaltyOn& penalty : penalties)
            if (penalty.on[size_t(piece.array)])
                value += library_.penalize(T(penalty.l1), T(penalty.l2), piece.count, w + piece.from, u);
        return value;
    }

    // Stages that need whole arrays

    // What such a stage, the one after the pass, sees.
    struct Whole final : WholeGradient<T> {
        Descent& d;
        const StepState& state;
        Barrier& barrier;
        const double& loss;
        const LossAt& loss_at;
        Whole(Descent& d, const StepState& state, Barrier& barrier, const double& loss, const LossAt& loss_at)
            : d(d), state(state), barrier(barrier), loss(loss), loss_at(loss_at) {
            this->size = d.size_;
            this->w = state.w;
            this->g = state.g;
            this->t = state.t;
            this->threads = d.threads_;
        }
        long arrays() const override { return long(d.arrays.size()); }
        bool applies(long a) const override { return d.stages[state.to].applies(size_t(a)); }
        Range place(long a) const override { return d.arrays[size_t(a)]; }
        long columns(long a) const override { return d.columns[size_t(a)]; }
        double g_squares(long a) const override { return d.sums_.g[size_t(a)]; }
        double w_squares(long a) const override { return d.sums_.w[size_t(a)]; }
        double all_squares() const override { return d.sums_.all; }
        void multiply(long a, T factor) override { d.stages[state.to].factors[size_t(a)] = factor; }
        T* scratch(int slot, long) const override { return d.scratch_[size_t(slot)].data(); }
        T* pack() const override { return d.packs_[size_t(state.t)].data(); }
        void wait() const override { barrier.wait(); }

        Trial start() override {
            if (state.t == 0) d.trial_ = {0, loss + total(d.penalty_parts_), slope(state.gradient)};
            barrier.wait();
            return d.trial_;
        }
        Trial along(double step) override {
            const int t = state.t;
            const Range own = share(d.size_, MAX_LANES, t, d.threads_);
            T* const weights = d.trial_weights_.data();
            std::memcpy(weights + own.from, state.w + own.from, size_t(own.count()) * sizeof(T));
            d.library_.add_scaled(own.count(), T(-step), state.g + own.from, weights + own.from);
            barrier.wait();
            const double value = loss_at(weights, d.trial_gradient_.data());
            for (const long p : d.pieces_of_[size_t(t)])
                d.trial_parts_[size_t(p)] =
                    d.penalize(p, weights, d.trial_gradient_.data() + d.pieces_[size_t(p)].from);
            barrier.wait();
            if (t == 0) d.trial_ = {step, value + total(d.trial_parts_), slope(d.trial_gradient_.data())};
            barrier.wait();
            return d.trial_;
        }

      private:
        double slope(const T* gradient) const { return -d.library_.dot(d.size_, gradient, state.g); }
        static double total(const std::vector<double>& parts) {
            double sum = 0;
            for (double part : parts) sum += part;
            return sum;
        }
    };

    // Applies such a stage to state.g in place, or sets its factors, by which the next pass multiplies
    // each array.
    void apply_to_whole(const StepState& state, Barrier& barrier, const double& loss, const LossAt& loss_at) {
        Stage<T>& stage = stages[state.to].at(state.t);
        if (state.t == 0) add_squares(stages[state.to]);
        stage.begin();
        Whole whole(*this, state, barrier, loss, loss_at);
        stage.apply_to_whole(whole);
    }

    void add_squares(DescentStage<T>& stage) {
        stage.factors.assign(arrays.size(), T(1));
        sums_ = {0, std::vector<double>(arrays.size(), 0), std::vector<double>(arrays.size(), 0)};
        for (size_t p = 0; p < pieces_.size(); ++p) {
            const size_t a = size_t(pieces_[p].array);
            if (!stage.applies(a)) continue;
            sums_.all += g_squares_[p];
            sums_.g[a] += g_squares_[p];
            sums_.w[a] += w_squares_[p];
        }
    }

    // Lets the stages count the step once all threads are done with them, up to one that ended it.
    void end_step() {
        penalty = 0;
        for (double part : penalty_parts_) penalty += part;
        for (DescentStage<T>& stage : stages)
            if (!stage.at(0).end()) break;
    }
};

}  // namespace chainrule
