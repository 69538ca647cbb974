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
#include <cstring>
#include <functional>
#include <stdexcept>

#include "kernels.h"
#include "memory.h"
#include "orthogonal.h"
#include "quasi_newton.h"
#include "rules.h"
#include "threads.h"

namespace chainrule {

struct PenaltyOn {
    double l1, l2;
    std::vector<char> on;  // whether it applies to each array
};

template <class T> class Descent : public GradientSink<T> {
  public:
    std::vector<Range> arrays;
    std::vector<long> columns;  // of each matrix; 0 for an array that is not a matrix
    std::vector<PenaltyOn> penalties;
    std::vector<DescentStage<T>> stages;
    double penalty = 0;  // the penalties' value in the last step

    // `in_parts`: where the parameters begin whose gradients can be taken in parts.
    void finish(long size, int threads, const std::vector<long>& in_parts) {
        pieces_.clear();
        works_.assign(size_t(threads), std::vector<StageWork<T>>(stages.size()));
        propagates_nonfinite_ = propagates_nonfinite();
        by_parts_ = size > LARGE && penalties.empty() &&
                    std::none_of(stages.begin(), stages.end(), [](auto& s) { return s.needs_whole_arrays(); });
        stepped_.assign(arrays.size() + 1, 0);
        for (const long start : in_parts)
            if (by_parts_) stepped_[size_t(array_at(start))] = 1;
        checks_.assign(size_t(threads), 0);
        const bool by_array = std::any_of(stages.begin(), stages.end(), [](auto& s) {
            return !s.on.empty() || s.rule == Rule::clip_norm || s.rule == Rule::trust_ratio ||
                   s.rule == Rule::orthogonalize;
        }) || !penalties.empty() || size > LARGE;
        std::vector<Range> ranges = arrays;
        if (!by_array) ranges = {{0, size}};
        for (size_t a = 0; a < ranges.size(); ++a)
            for (long from = ranges[a].from; from < ranges[a].to; from += PIECE)
                pieces_.push_back({from, std::min(PIECE, ranges[a].to - from), int(a)});
        // Every thread takes a contiguous share of each array, as it does of the array's gradient.
        pieces_of_.assign(size_t(threads), {});
        for (size_t begin = 0, end = 0; begin < pieces_.size(); begin = end) {
            while (end < pieces_.size() && pieces_[end].array == pieces_[begin].array) ++end;
            for (int t = 0; t < threads; ++t) {
                const Range r = share(long(end - begin), 1, t, threads);
                for (long p = r.from; p < r.to; ++p) pieces_of_[size_t(t)].push_back(long(begin) + p);
            }
        }
        g_squares_.assign(pieces_.size(), 0);
        w_squares_.assign(pieces_.size(), 0);
        penalty_parts_.assign(pieces_.size(), 0);
        allocate_scratch(size, threads);
    }

    // Returns the mean loss of the same mini-batch at weights w, without penalties, and sets g to
    // its gradient. Called by all threads together.
    using LossAt = std::function<double(const T* w, T* g)>;

    // Takes one step; called by every thread. g is the gradient, and is overwritten. `gradient`
    // and `update`, if not null, receive the whole gradient (with penalties) and the update that
    // was subtracted. `loss` is the current loss; it and `loss_at` are only used by a line search.
    // Returns false on a thread that found a number that is not finite.
    bool step(const Kernels<T>& kernels, T* w, T* g, T* gradient, T* update, int t, Barrier& barrier,
              const double& loss, const LossAt& loss_at) {
        StepState state{w, g, gradient || !has_line_search_ ? gradient : gradient_.data(), update, t};
        state.check = checks_[size_t(t)];
        checks_[size_t(t)] = 0;
        while (!state.ended) {
            prepare(state);
            for (const long p : pieces_of_[size_t(t)])
                if (!stepped_[size_t(pieces_[size_t(p)].array)] || state.gradient || !by_parts_)
                    step_piece(kernels, state, p);
            if (state.last || state.ended) break;
            barrier.wait();
            apply_to_whole_arrays(kernels, state, barrier, loss, loss_at);
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

    // Whether gradients of arrays may be taken in parts; `step` then skips these arrays.
    bool by_parts() const { return by_parts_; }

    // Prepares the constants for the step's calls of `take`; called by every thread.
    void begin_step(const Kernels<T>& kernels, T* w, int t) {
        if (t == 0) {
            kernels_ = &kernels;
            weights_ = w;
        }
        checks_[size_t(t)] = 0;
        for (size_t k = 0; k < stages.size(); ++k) works_[size_t(t)][k] = step_constants(stages[k]);
    }

    // Whether a gradient that is not finite always makes the new weights not finite; otherwise it
    // is checked first.
    bool propagates_nonfinite() const {
        if (stages.empty()) return true;
        switch (stages[0].rule) {
            case Rule::clip_value:
            case Rule::accumulate:
            case Rule::rprop:
            case Rule::lion: return false;
            default: return !stages[0].needs_whole_arrays() && stages[0].on.empty();
        }
    }

    // Steps weights [from, to), which are in one array.
    void take(const T* g, long from, long to, int t) override {
        const Kernels<T>& kernels = *kernels_;
        const int array = array_at(from);
        T* const w = weights_;
        StageWork<T>* const works = works_[size_t(t)].data();
        alignas(64) T u[PIECE + PADDING];
        T check = 0;
        for (long at = from; at < to; at += PIECE) {
            const long count = std::min(PIECE, to - at);
            const T* in = g + (at - from);
            if (!propagates_nonfinite_) {
                check += kernels.take(count, in, u);
                in = u;
            }
            size_t stop = stages.size();
            for (size_t k = 0; k < stages.size(); ++k)
                if (stages[k].rule == Rule::accumulate && works[k].n[1] == 0) stop = k + 1;
            const bool ends = stop == stages.size() && !(stop && only_accumulates(works[stop - 1]));
            const bool scales = ends && stop && multiplies_all(stop - 1, works_[size_t(t)]);
            if (scales) --stop;
            const T factor = scales ? works[stop].n[0] : T(1);
            if (ends) check += descend(kernels, 0, stop, factor, array, at, count, in, u, w, t);
            else
                for (size_t k = 0; k < stop; ++k) in = apply(kernels, k, array, at, count, in, u, w, t);
        }
        checks_[size_t(t)] += check;
    }

    static constexpr long PIECE = 2048, LARGE = 50000;

  private:
    struct Piece {
        long from, count;
        int array;
    };
    std::vector<Piece> pieces_;
    std::vector<std::vector<long>> pieces_of_;  // of each thread
    std::vector<double> g_squares_, w_squares_, penalty_parts_;
    std::vector<T> factors_;
    std::vector<std::vector<StageWork<T>>> works_;  // of each thread

    const Kernels<T>* kernels_ = nullptr;  // in this step
    T* weights_ = nullptr;
    bool by_parts_ = false, propagates_nonfinite_ = false;
    std::vector<char> stepped_;  // which arrays are stepped in parts
    std::vector<T> checks_;       // of each thread's parts: NaN if a number was not finite

    long size_ = 0;
    Orthogonalizer<T> orthogonal_;
    // Whether there is a line search, which needs the gradients here and at trial weights.
    bool has_line_search_ = false;
    AlignedVector<T> gradient_, trial_weights_, trial_gradient_;
    std::vector<double> trial_parts_;
    Trial trial_{};

    int array_at(long place) const {
        for (size_t a = 0; a < arrays.size(); ++a)
            if (arrays[a].from <= place && place < arrays[a].to) return int(a);
        throw std::invalid_argument("a parameter is in none of the arrays");
    }

    // Whether the stage only accumulates in this step, which ends it.
    static bool only_accumulates(const StageWork<T>& work) {
        return work.kind == StageKind::accumulate && work.n[1] == 0;
    }

    bool multiplies_all(size_t k, const std::vector<StageWork<T>>& works) const {
        return works[k].kind == StageKind::scale && stages[k].on.empty();
    }

    // Stage k's constants in this step, with its state for the weights from `from` on.
    StageWork<T>& work_at(size_t k, long from, int t) {
        StageWork<T>& work = works_[size_t(t)][k];
        for (int s = 0; s < 3; ++s) work.state[s] = stages[k].state[s] ? stages[k].state[s] + from : nullptr;
        return work;
    }

    // Applies stage k to `in`; returns where the result is: in u, or `in` where the stage does not
    // apply.
    const T* apply(const Kernels<T>& kernels, size_t k, int array, long from, long count, const T* in, T* u, T* w,
                   int t) {
        if (!stages[k].applies(size_t(array))) return in;
        kernels.stage(work_at(k, from, t), count, in, u, w + from);
        return u;
    }

    // Applies stages [k, stop) and subtracts the result times `factor`, in the same pass as the
    // last stage.
    T descend(const Kernels<T>& kernels, size_t k, size_t stop, T factor, int array, long from, long count, const T* in,
              T* u, T* w, int t) {
        const bool subtracts = stop > k && stages[stop - 1].applies(size_t(array));
        for (; k < (subtracts ? stop - 1 : stop); ++k) in = apply(kernels, k, array, from, count, in, u, w, t);
        if (!subtracts) return kernels.subtract(count, factor, in, u, w + from);
        return kernels.stage_and_subtract(work_at(stop - 1, from, t), count, factor, in, w + from);
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
        std::vector<StageWork<T>>& works = works_[size_t(state.t)];
        state.to = state.from;
        while (state.to < stages.size() && !stages[state.to].needs_whole_arrays()) ++state.to;
        state.stop = state.to;
        for (size_t k = state.from; k < state.to && !state.ended; ++k) {
            works[k] = step_constants(stages[k]);
            state.ended = only_accumulates(works[k]);
            if (state.ended) state.stop = k + 1;
        }
        state.last = state.to == stages.size() && !state.ended;
        const bool scales = state.last && state.to > state.from && multiplies_all(state.to - 1, works);
        state.factor = scales ? works[state.to - 1].n[0] : T(1);
        if (scales) --state.stop;
    }

    void step_piece(const Kernels<T>& kernels, StepState& state, long p) {
        const Piece piece = pieces_[size_t(p)];
        const size_t bytes = size_t(piece.count) * sizeof(T);
        alignas(64) T u[PIECE + PADDING];
        const T* in = state.g + piece.from;
        T* const w = state.w + piece.from;
        if (!state.first || !propagates_nonfinite_ || state.gradient || !penalties.empty()) {
            state.check += kernels.take(piece.count, in, u);
            in = u;
        }
        if (state.first) {
            penalty_parts_[size_t(p)] = penalize(kernels, p, state.w, u);
            if (state.gradient) std::memcpy(state.gradient + piece.from, u, bytes);
        } else {
            StageWork<T> scaling;
            scaling.kind = StageKind::scale;
            scaling.n[0] = factors_.size() == 1 ? factors_[0] : factors_[size_t(piece.array)];
            kernels.stage(scaling, piece.count, u, u, w);
        }
        if (state.last && !state.update) {
            state.check += descend(kernels, state.from, state.stop, state.factor, piece.array, piece.from,
                                   piece.count, in, u, state.w, state.t);
            return;
        }
        for (size_t k = state.from; k < state.stop; ++k)
            in = apply(kernels, k, piece.array, piece.from, piece.count, in, u, state.w, state.t);
        if (state.ended) {
            if (state.update) std::memset(state.update + piece.from, 0, bytes);
        } else if (state.last) {
            state.check += kernels.subtract(piece.count, state.factor, in, u, w);
            std::memcpy(state.update + piece.from, u, bytes);
        } else {
            std::memcpy(state.g + piece.from, u, bytes);
            g_squares_[size_t(p)] = kernels.dot(piece.count, u, u);
            if (stages[state.to].rule == Rule::trust_ratio) w_squares_[size_t(p)] = kernels.dot(piece.count, w, w);
        }
    }

    // Adds the penalties' derivatives to the gradient u of piece p and returns their value there.
    double penalize(const Kernels<T>& kernels, long p, const T* w, T* u) const {
        double value = 0;
        const Piece piece = pieces_[size_t(p)];
        for (const PenaltyOn& penalty : penalties) {
            if (!penalty.on[size_t(piece.array)]) continue;
            StageWork<T> work;
            work.kind = StageKind::penalty;
            work.n[0] = T(penalty.l1);
            work.n[1] = T(penalty.l2);
            value += kernels.penalty_value(work.n[0], work.n[1], piece.count, w + piece.from);
            kernels.stage(work, piece.count, u, u, w + piece.from);
        }
        return value;
    }

    // Stages that need whole arrays

    // Applies such a stage to state.g in place, or sets factors_, by which the next pass
    // multiplies each array.
    void apply_to_whole_arrays(const Kernels<T>& kernels, const StepState& state, Barrier& barrier, const double& loss,
                        const LossAt& loss_at) {
        const DescentStage<T>& stage = stages[state.to];
        if (stage.rule == Rule::line_search) return search(kernels, state, barrier, loss, loss_at);
        if (stage.rule == Rule::orthogonalize) orthogonalize(kernels, state, stage, barrier);
        if (state.t != 0) return;
        factors_.assign(1, T(1));
        if (stage.rule == Rule::lbfgs) {
            Curvature<T> curvature{size_, long(stage.n[0]), stage.state[0], stage.state[1], stage.state[2],
                                   stage.state[3], *stage.count};
            curvature.apply(kernels, state.w, state.g);
        } else if (stage.rule != Rule::orthogonalize) {
            set_factors(stage);
        }
    }

    void set_factors(const DescentStage<T>& stage) {
        std::vector<double> g(arrays.size(), 0), w(arrays.size(), 0);
        double all = 0;
        for (size_t p = 0; p < pieces_.size(); ++p) {
            const size_t a = size_t(pieces_[p].array);
            if (!stage.applies(a)) continue;
            all += g_squares_[p];
            g[a] += g_squares_[p];
            w[a] += w_squares_[p];
        }
        const auto clip_factor = [&stage](double squares) {
            const double norm = std::sqrt(squares);
            return T(norm > stage.n[0] ? stage.n[0] / norm : 1);
        };
        if (stage.rule == Rule::clip_global_norm && stage.on.empty()) {
            factors_[0] = clip_factor(all);
            return;
        }
        factors_.assign(arrays.size(), T(1));
        for (size_t a = 0; a < arrays.size(); ++a)
            if (!stage.applies(a)) continue;
            else if (stage.rule == Rule::clip_global_norm) factors_[a] = clip_factor(all);
            else if (stage.rule == Rule::clip_norm) factors_[a] = clip_factor(g[a]);
            else if (g[a] > 0 && w[a] > 0) factors_[a] = T(std::sqrt(w[a]) / std::sqrt(g[a]));
    }

    void orthogonalize(const Kernels<T>& kernels, const StepState& state, const DescentStage<T>& stage,
                       Barrier& barrier) {
        for (size_t a = 0; a < arrays.size(); ++a) {
            if (!stage.applies(a)) continue;
            T* const x = state.g + arrays[a].from;
            const long count = arrays[a].count();
            if (columns[a]) orthogonal_(kernels, x, count / columns[a], columns[a], int(stage.n[0]), stage.n[1],
                                        state.t, barrier);
            else if (state.t == 0) std::memset(x, 0, size_t(count) * sizeof(T));  // only matrices are orthogonalized
        }
    }

    // Sets factors_ to the length of the step along state.g. Every thread runs the same search.
    void search(const Kernels<T>& kernels, const StepState& state, Barrier& barrier, const double& loss,
                const LossAt& loss_at) {
        const int t = state.t;
        const auto slope = [&](const T* gradient) { return -kernels.dot(size_, gradient, state.g); };
        const auto total = [](const std::vector<double>& parts) {
            double sum = 0;
            for (double part : parts) sum += part;
            return sum;
        };
        const Range own_range = share(size_, MAX_LANES, t, int(works_.size()));
        const auto along = [&](double step) {
            std::memcpy(trial_weights_.data() + own_range.from, state.w + own_range.from,
                        size_t(own_range.count()) * sizeof(T));
            kernels.add_scaled(own_range.count(), T(-step), state.g + own_range.from,
                               trial_weights_.data() + own_range.from);
            barrier.wait();
            const double value = loss_at(trial_weights_.data(), trial_gradient_.data());
            for (const long p : pieces_of_[size_t(t)])
                trial_parts_[size_t(p)] = penalize(kernels, p, trial_weights_.data(),
                                                   trial_gradient_.data() + pieces_[size_t(p)].from);
            barrier.wait();
            if (t == 0) trial_ = {step, value + total(trial_parts_), slope(trial_gradient_.data())};
            barrier.wait();
            return trial_;
        };
        if (t == 0) trial_ = {0, loss + total(penalty_parts_), slope(state.gradient)};
        barrier.wait();
        const Trial start = trial_;
        const auto& n = stages[state.to].n;
        const LineSearch search{n[0], n[1], int(n[2])};
        const double length = start.slope < 0 ? search(along, start) : 0;
        if (t == 0) factors_.assign(1, T(length));
    }

    void allocate_scratch(long size, int threads) {
        size_ = size;
        long largest = 0, shorter = 0;
        for (size_t a = 0; a < arrays.size(); ++a) {
            if (!columns[a]) continue;
            largest = std::max(largest, arrays[a].count());
            shorter = std::max(shorter, std::min(columns[a], arrays[a].count() / columns[a]));
        }
        const auto uses = [this](Rule rule) {
            return std::any_of(stages.begin(), stages.end(), [rule](auto& s) { return s.rule == rule; });
        };
        if (uses(Rule::orthogonalize)) orthogonal_.finish(largest, shorter, threads);
        has_line_search_ = uses(Rule::line_search);
        if (!has_line_search_) return;
        for (auto* vector : {&gradient_, &trial_weights_, &trial_gradient_}) vector->resize(size_t(size + PADDING));
        trial_parts_.assign(pieces_.size(), 0);
    }

    // Increments the stages' counts once all threads are done with them, up to a stage that ended
    // the step.
    void end_step() {
        penalty = 0;
        for (double part : penalty_parts_) penalty += part;
        for (DescentStage<T>& stage : stages) {
            if (!stage.count || stage.rule == Rule::lbfgs) continue;
            ++*stage.count;
            if (stage.rule != Rule::accumulate) continue;
            if (*stage.count < int64_t(stage.n[0])) break;
            *stage.count = 0;
        }
    }
};

}  // namespace chainrule
