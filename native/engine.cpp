#include "engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "plan.h"

namespace chainrule {

// Bytes of a sample up to which copying it is faster than reading it in place.
constexpr long SMALL = 512;

// Building

// The distance of rows that are padded to whole vectors. A sample with several rows is packed: a
// picture of one channel would take 16 times its memory.
inline long distance(long rows, long width, long size) {
    if (rows > 1) return width;
    long ld = (width + MAX_LANES - 1) / MAX_LANES * MAX_LANES;
    if (ld * size % 1024 == 0) ld += MAX_LANES;  // rows a power of 2 apart would share cache sets
    return ld;
}

template <class T> int Engine<T>::value(long rows, long width, bool learns) {
    PlannedValue v;
    v.rows = rows;
    v.width = width;
    v.ld = distance(rows, width, sizeof(T));
    v.is_input = values_.empty();
    v.learns = learns;
    values_.push_back(v);
    return int(values_.size()) - 1;
}

template <class T> void Engine<T>::add(std::unique_ptr<BoundRecord<T>> record) {
    std::unique_ptr<Operation<T>> operation(library_->operation(record->kind.c_str(), *record));
    if (!operation) throw std::invalid_argument("there is no operation " + record->kind);
    add(std::move(record), std::move(operation));
}

template <class T>
void Engine<T>::add(std::unique_ptr<BoundRecord<T>> record, std::unique_ptr<Operation<T>> operation) {
    require(!finished_, "the engine is already finished");
    for (const int k : record->reads)
        require(k == 0 || values_.at(size_t(k)).is_written, "an operation reads a value before it is written");
    for (const int k : record->writes) {
        require(k > 0 && !values_.at(size_t(k)).is_written, "every value is written once, the input never");
        values_[size_t(k)].is_written = true;
        values_[size_t(k)].normalization = operation->normalization();
        values_[size_t(k)].slopes = operation->slopes();
        values_[size_t(k)].writer = operation.get();
    }
    for (const int k : record->reads) connect(values_[size_t(k)], *operation);
    steps_.push_back({std::move(record), std::move(operation)});
}

// Arranges what the operation that writes a value and the one that reads it do for each other.
template <class T> void Engine<T>::connect(PlannedValue& value, Operation<T>& reader) {
    require(!value.normalization || reader.normalizes_input(), "an operation cannot normalize what it reads");
    if (!value.writer) return;
    if (value.writer->shows() && reader.looks()) value.values_shown = &reader;
    if (value.writer->normalizes_back()) value.back = reader.back_normalization();
    if (value.writer->looks() && reader.shows()) value.gradients_shown = value.writer;
}

template <class T>
void Engine<T>::set_loss(std::unique_ptr<Stored<Settings>> settings, long target_width, bool classes) {
    loss_.reset(library_->loss(settings->kind.c_str(), *settings));
    if (!loss_) throw std::invalid_argument("there is no loss " + settings->kind);
    loss_settings_ = std::move(settings);
    target_width_ = target_width;
    by_class_ = classes;
}

template <class T> void Engine<T>::finish(int prediction, long parameters, long statistics, bool trains) {
    check(prediction, parameters, statistics);
    if (trains) {
        require(bool(loss_), "the engine has no loss");
        loss_->check(values_.at(size_t(prediction)).width, target_width_, by_class_);
    }
    finished_ = true;
    prediction_ = prediction;
    trains_ = trains;
    parameters_ = parameters;
    statistics_ = statistics;
    plan_values();
    if (trains) plan_training();
    plan_scratch();
}

// Validates what the kernels rely on.
template <class T> void Engine<T>::check(int prediction, long parameters, long statistics) const {
    require(!finished_ && max_samples_ >= 1 && values_.size() > 1, "the engine is empty or already finished");
    require(values_.at(size_t(prediction)).is_written, "no operation writes the prediction");
    const auto inside = [](const std::map<std::string, Place>& places, long size) {
        return std::all_of(places.begin(), places.end(), [size](auto& p) { return p.second.stop <= size; });
    };
    require(parameters_end <= parameters, "an array lies outside of the vectors");
    for (const Step& step : steps_)
        require(inside(step.record->parameters, parameters) && inside(step.record->statistics, statistics),
                "an operation lies outside of the vectors");
}

// Gives values and their gradients memory. What is not needed at the same time shares it: gradients,
// and values if there is no backward pass.
template <class T> void Engine<T>::plan_values() {
    values_[size_t(prediction_)].learns = true;  // the loss writes its derivatives to it
    can_read_samples_ = !steps_.empty() && steps_[0].operation->can_read_samples();
    Plan<T> values, gradients;
    const auto size = [this](const Value<T>& v) { return max_samples_ * v.rows * v.ld; };
    const long end = long(steps_.size());
    // Forward: from the step that writes a value to the last one that reads it.
    if (!can_read_samples_) values.use(0, size(values_[0]), -1);
    for (long s = 0; s < end; ++s) {
        const BoundRecord<T>& record = *steps_[size_t(s)].record;
        for (const int k : record.reads) values.use(k, 0, s);
        for (const int k : record.writes)
            if (steps_[size_t(s)].operation->shares_value()) values.share(k, record.reads[0]);
            else values.use(k, size(values_[size_t(k)]), s);
    }
    values.use(prediction_, 0, end);
    for (int k = 0; trains_ && k < int(values_.size()); ++k) values.use(k, 0, end);
    // Backward: from the last step that reads the value to the one that writes it. Python may look at
    // the prediction's gradient afterwards.
    if (trains_) {
        gradients.use(prediction_, size(values_[size_t(prediction_)]), -1);
        gradients.use(prediction_, 0, end);
    }
    for (long s = end; trains_ && s-- > 0;) {
        const BoundRecord<T>& record = *steps_[size_t(s)].record;
        const long time = end - 1 - s;
        for (const int k : record.writes) gradients.use(k, 0, time);
        for (const int k : record.reads)
            if (steps_[size_t(s)].operation->shares_gradient()) gradients.share(k, record.writes[0]);
            else if (values_[size_t(k)].learns) gradients.use(k, size(values_[size_t(k)]), time);
    }
    const auto give = [this](Plan<T>& plan, T* Value<T>::* of) {
        if (!plan.size()) return;
        T* const memory = allocate(plan.size());
        for (int k = 0; k < int(values_.size()); ++k)
            if (plan.has(k)) values_[size_t(k)].*of = memory + plan.place(k);
    };
    give(values, &Value<T>::value);
    give(gradients, &Value<T>::gradient);
}

// Gives the loss and the optimizer memory, and finds out which gradients they take in parts.
template <class T> void Engine<T>::plan_training() {
    gradient_.resize(size_t(parameters_ + PADDING));
    targets_.resize(size_t(max_samples_ * target_size() + PADDING));
    weights_.resize(size_t(max_samples_ * positions() + PADDING));
    losses_.assign(size_t(max_samples_ * positions()), 0);
    trial_statistics_.resize(size_t(statistics_));
    std::vector<long> in_parts;
    for (const Step& step : steps_)
        if (!ranks && step.operation->in_parts(threads_) >= 0) in_parts.push_back(step.operation->in_parts(threads_));
    if (ranks) plan_parts();
    std::vector<Range> own;
    for (const RanksPart& part : parts_) own.push_back(ranks->own(part.range));
    descent.finish(parameters_, in_parts, own);
    part_.resize(size_t(threads_));
    for (auto& part : part_)
        if (descent.by_parts() && !in_parts.empty()) part.resize(PART + PADDING);
}

// Divides the gradient into parts from its end on: of what a step finishes, together with what later
// steps have left, at least `least` numbers, and not many more than that.
template <class T> void Engine<T>::plan_parts() {
    const long least = std::max(64 * 1024L, parameters_ / 16);
    long end = parameters_;
    for (long k = long(steps_.size()); k-- > 0;) {
        long from = 0;  // behind all that steps before this one have
        for (long earlier = 0; earlier < k; ++earlier)
            for (const auto& [name, place] : steps_[size_t(earlier)].record->parameters) from = std::max(from, place.stop);
        const long count = end - std::min(from, end), parts = std::max(count / least, long(k == 0 && count > 0));
        for (long part = parts; part-- > 0;)
            parts_.push_back({{end - count + count * part / parts, end - count + count * (part + 1) / parts}, k});
        if (parts) end -= count;
    }
}

template <class T> void Engine<T>::plan_scratch() {
    long scratch = 0;
    for (const Step& step : steps_) scratch = std::max(scratch, step.operation->scratch());
    if (trains_) scratch = std::max(scratch, (4 * at(prediction_).width + 2 * target_width_ + 4) * MAX_LANES);
    sample_rows_.assign(size_t(max_samples_), nullptr);
    pack_.resize(size_t(threads_));
    scratch_.resize(size_t(threads_));
    long shared = 0;
    for (const Step& step : steps_) shared = std::max(shared, trains_ ? step.operation->shared_scratch() : 0);
    shared_.resize(size_t(shared + PADDING));
    for (auto& pack : pack_) pack.resize(PACK + PADDING);
    for (auto& s : scratch_) s.resize(size_t(scratch + PADDING));
}

// Running

template <class T> void Engine<T>::require_room(long samples) const {
    if (samples > max_samples_) throw std::length_error("the mini-batch is larger than the engine allows");
}

template <class T> void Engine<T>::begin(const Data& data) {
    invalid_ = false;
    error_ = nullptr;
    rows_ = data.rows;
    const SampleArray& x = data.x;
    Value<T>& input = values_[0];
    fits_ = input.rows == 1 && x.type == (sizeof(T) == 4 ? Dtype::float32 : Dtype::float64) &&
            reinterpret_cast<uintptr_t>(x.data) % sizeof(T) == 0 && x.stride % long(sizeof(T)) == 0;
    in_place_ = can_read_samples_ && fits_ && x.size * long(sizeof(T)) > SMALL;
    // For gathered samples.
    if (!in_place_ && !input.value) input.value = allocate(max_samples_ * input.rows * input.ld);
}

template <class T>
Pass<T> Engine<T>::pass(long samples, uint64_t step, bool training, const T* w, T* statistics, int t,
                         Barrier& barrier) {
    Pass<T> pass{samples, step, training, w, statistics, gradient(), t, threads_, pack_[size_t(t)].data(),
                 scratch_[size_t(t)].data(), shared_.data(), in_place_ ? sample_rows_.data() : nullptr, &invalid_, &barrier};
    pass.whole = samples;
    if (!training || !ranks) return pass;
    const Range own = ranks->own(samples);
    pass.samples = own.count();
    pass.first = own.from;
    pass.ranks = ranks.get();
    return pass;
}

// Runs work(t) on every thread, and raises what a Python layer has raised.
template <class T> template <class Work> void Engine<T>::in_threads(Barrier& barrier, Work work, bool briefly) {
    const auto guarded = [&](int t) {
        const FlushSubnormals guard;
        work(t);
    };
    stalls_.begin();
    if (briefly) workers_.run(guarded);
    else in_parallel(threads_, guarded);
    stalls_.end(barrier);
    if (error_) std::rethrow_exception(error_);
}

template <class T>
RunResult Engine<T>::run(T* w, T* statistics, const Data& data, long batch, uint64_t first_step, double seconds,
                         double* losses, T* gradient, T* update, const Watch& watch) {
    require_room(own_samples(std::min(batch, data.rows)));
    using Clock = std::chrono::steady_clock;
    deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    // Steps between two readings of the clock.
    const long every = parameters_ < 10000 && seconds > 0 ? 64 : 1;
    begin(data);
    Loop loop{w, statistics, gradient, update, data, batch, first_step, losses, watch, Barrier(threads_),
              std::vector<char>(size_t(threads_), 1)};
    if (data.rows == 0) return loop.result;
    in_threads(loop.barrier, [&](int t) {
        for (long from = 0; !loop.stop; from += batch) {
            const bool valid = take_step(loop, from, t);
            if (t == 0) {
                end_step(loop, from, valid);
                loop.stop = loop.result.ending != Ending::complete || from + batch >= data.rows ||
                            agreed_[2] > 0 ||
                            (seconds > 0 && !ranks && stalls_.are_many(loop.barrier)) ||
                            (loop.result.steps % every == 0 && !ranks && Clock::now() >= deadline_);
            }
            loop.barrier.wait();
        }
        if (is_divided(gradient)) gather_states(t, loop.barrier);
    });
    if (error_) std::rethrow_exception(error_);
    return loop.result;
}

// One step of one thread; false if an input is invalid.
template <class T> bool Engine<T>::take_step(Loop& loop, long from, int t) {
    const long samples = std::min(loop.batch, loop.data.rows - from);
    Pass<T> pass = this->pass(samples, loop.first_step + uint64_t(from / loop.batch), true, loop.w, loop.statistics, t,
                              loop.barrier);
    if (descent.by_parts() && !loop.gradient && !ranks) {
        pass.sink = &descent;
        pass.part = part_[size_t(t)].data();
        descent.begin_step(loop.w, t);
    }
    if (t == 0 && descent.has_line_search())
        statistics_before_.assign(loop.statistics, loop.statistics + statistics_);
    const bool divided = is_divided(loop.gradient);
    if (!derive(pass, loop.data, from, loop.barrier, loop.watch, divided)) return false;
    if (t == 0) loop.loss = mean_loss(samples);
    loop.finite[size_t(t)] =
        descent.step(loop.w, summed(pass.g), loop.gradient, loop.update, t, loop.barrier, loop.loss,
                     descent.has_line_search() ? loss_at(pass, loop, from) : nullptr, divided);
    loop.barrier.wait();
    if (divided) {
        const bool good = t > 0 || !std::count(loop.finite.begin(), loop.finite.end(), 0);
        if (!ranks->gather(loop.w, good, t, loop.barrier) && t == 0) loop.finite[0] = 0;
    }
    return true;
}

// Stores the step's loss, or why it failed.
template <class T> void Engine<T>::end_step(Loop& loop, long, bool valid) {
    if (invalid_ || error_) {
        loop.result.ending = Ending::fault;
        return;
    }
    const double value = valid ? loop.loss + descent.penalty : 0;
    loop.losses[loop.result.steps] = value;
    if (!std::isfinite(value) || std::count(loop.finite.begin(), loop.finite.end(), 0))
        loop.result.ending = Ending::not_finite;
    else {
        if (loop.watch.numbers) keep(loop);
        ++loop.result.steps;
    }
}

// Watching a parameter

template <class T> bool Engine<T>::has(const Step& step, long place) {
    const auto& arrays = step.record->parameters;
    return std::any_of(arrays.begin(), arrays.end(),
                       [place](auto& a) { return a.second.start <= place && place < a.second.stop; });
}

template <class T> bool Engine<T>::can_watch(long place) const {
    bool is_used = false;
    for (const Step& step : steps_)
        if (has(step, place)) {
            if (!step.operation->knows_samples()) return false;
            is_used = true;
        }
    return is_used && !descent.has_line_search();
}

template <class T> long Engine<T>::watched() const {
    long count = 3;
    for (const DescentStage<T>& stage : descent.stages) {
        const Needs needs = stage.at(0).needs();
        count += needs.vectors + needs.count + needs.scale + stage.at(0).multiplies();
    }
    return count;
}

template <class T> void Engine<T>::keep(const Loop& loop) const {
    const long place = loop.watch.place;
    double* to = loop.watch.numbers + loop.result.steps * watched();
    for (const T* vector : {loop.w, loop.gradient, loop.update}) *to++ = vector[place];
    for (const DescentStage<T>& stage : descent.stages) {
        const Stage<T>& own = stage.at(0);
        const Needs needs = own.needs();
        for (int k = 0; k < needs.vectors; ++k) *to++ = own.state[k][place];
        if (needs.count) *to++ = double(*own.count);
        if (needs.scale) *to++ = *own.scale;
        if (own.multiplies()) *to++ = double(stage.factors.empty() ? T(1) : stage.factors[descent.array_at(place)]);
    }
}

template <class T>
void Engine<T>::add_samples(const Pass<T>& pass, const Step& step, const Watch& watch, long from) const {
    if (pass.t == 0) step.operation->add_samples(pass, watch.place, watch.parts + from);
}

// The loss and gradient of the same mini-batch at trial weights.
template <class T>
typename Descent<T>::LossAt Engine<T>::loss_at(const Pass<T>& pass, Loop& loop, long from) {
    return [pass, &loop, from, this](const T* trial_w, T* trial_g) {
        Pass<T> trial = pass;
        trial.w = trial_w;
        trial.g = trial_g;
        // Trials don't update the running statistics.
        if (pass.t == 0) trial_statistics_ = statistics_before_;
        trial.statistics = trial_statistics_.data();
        derive(trial, loop.data, from, loop.barrier);
        return mean_loss(pass.whole);
    };
}

template <class T>
double Engine<T>::differentiate(const T* w, T* statistics, const Data& data, uint64_t step, T* gradient, bool& valid) {
    require_room(own_samples(data.rows));
    begin(data);
    Barrier barrier(threads_);
    deadline_ = {};
    const T* const here = summed(this->gradient());
    in_threads(barrier, [&](int t) { derive(pass(data.rows, step, true, w, statistics, t, barrier), data, 0, barrier); });
    valid = !invalid_;
    std::memcpy(gradient, here, size_t(parameters_) * sizeof(T));
    return mean_loss(data.rows);
}

// Lets operations prepare the parameters, unless they have.
template <class T> void Engine<T>::prepare(const T* w, uint64_t version) {
    if (version == prepared_) return;
    prepared_ = version;
    if (version == 0) return;
    const FlushSubnormals guard;
    for (Step& step : steps_)
        if (const long size = step.operation->prepared_size()) {
            if (!step.prepared) step.prepared = allocate(size);
            step.operation->prepare(w, step.prepared);
        }
}

template <class T>
bool Engine<T>::predict(const T* w, T* statistics, const Data& data, T* predictions, uint64_t version, uint64_t known) {
    begin(data);
    prepare(w, version);
    const Value<T>& out = at(prediction_);
    Barrier barrier(threads_);
    bool stop = data.rows == 0;
    if (stop) return true;
    in_threads(barrier, [&](int t) {
        for (long from = 0; from < data.rows && !stop; from += max_samples_) {
            const Pass<T> pass =
                this->pass(std::min(max_samples_, data.rows - from), known, false, w, statistics, t, barrier);
            forward(pass, data, from, barrier);
            barrier.wait();
            const Range r = pass.rows(out);
            for (long i = r.from; i < r.to; ++i)
                library_->copy(out.width, out.value + i * out.ld, predictions + (from * out.rows + i) * out.width);
            if (t == 0) stop = invalid_;
            barrier.wait();
        }
    }, true);
    return !invalid_;
}

// Passes

template <class T> void Engine<T>::forward(Pass<T> pass, const Data& data, long from, Barrier& barrier) {
    read_samples(pass, data, from);
    for (const Step& step : steps_) {
        pass.prepared = pass.training || !prepared_ ? nullptr : step.prepared;
        barrier.wait();
        // A mini-batch may be smaller than the number of ranks.
        if (pass.samples || step.operation->adds_over_ranks()) step.operation->forward(pass);
    }
}

// Forward pass, loss and backward pass; false, after the loss, if an input is invalid.
template <class T>
bool Engine<T>::derive(const Pass<T>& pass, const Data& data, long from, Barrier& barrier, const Watch& watch,
                       bool divided) {
    forward(pass, data, from + pass.first, barrier);
    barrier.wait();
    if (pass.samples) compute_loss(pass, data.weight.data);
    barrier.wait();
    if (ranks) agree(pass, barrier);
    else if (invalid_) return false;
    for (size_t k = steps_.size(); k-- > 0;) {
        const Step& step = steps_[k];
        const bool is_watched = watch.parts && has(step, watch.place), after = is_watched && step.operation->knows_samples_after();
        if (is_watched && !after) {
            add_samples(pass, step, watch, from);
            barrier.wait();  // what other threads' `backward` may overwrite has been read
        }
        if (!ranks || !idle_ || step.operation->adds_over_ranks()) step.operation->backward(pass);
        barrier.wait();
        if (ranks && pass.t == 0) add_parts(pass, long(k));
        if (!after) continue;
        add_samples(pass, step, watch, from);
        barrier.wait();  // or what the next operation may overwrite
    }
    return !ranks || conclude(pass, barrier, divided);
}

// Ranks

// Begins to tell the other ranks the loss, whether an input is invalid and whether to stop after this
// step. A rank without samples, or with an invalid one, has a gradient of 0.
template <class T> void Engine<T>::agree(const Pass<T>& pass, Barrier& barrier) {
    if (pass.t == 0) {
        agreed_[0] = 0;
        for (long i = 0; i < pass.samples * positions(); ++i) agreed_[0] += losses_[size_t(i)];
        agreed_[1] = double(invalid_);
        agreed_[2] = double(std::chrono::steady_clock::now() >= deadline_);
        idle_ = !pass.samples || invalid_;
        ranks->agree(agreed_, 3);
    }
    barrier.wait();
    if (!idle_) return;
    const Range own = pass.share(parameters_, MAX_LANES);
    std::fill(pass.g + own.from, pass.g + own.to, T(0));
    barrier.wait();
}

// Waits for what ranks add up; false if an input of one is invalid. `divided`: each then has the sums of
// its share of the gradient only.
template <class T> bool Engine<T>::conclude(const Pass<T>& pass, Barrier& barrier, bool divided) {
    ranks->finish(summed(pass.g), !divided, pass.t, barrier);
    if (pass.t == 0) {
        if (agreed_[1] > 0) invalid_ = true;
        ++turn_;
    }
    barrier.wait();
    return !invalid_;
}

// Gives all ranks the others' shares of the optimizer's state.
template <class T> void Engine<T>::gather_states(int t, Barrier& barrier) {
    for (const DescentStage<T>& stage : descent.stages)
        for (int slot = 0; slot < stage.at(0).needs().vectors; ++slot)
            ranks->gather(stage.at(0).state[slot], true, t, barrier);
}

// Adds up the parts of the gradient that a step has finished.
template <class T> void Engine<T>::add_parts(const Pass<T>& pass, long step) {
    for (const RanksPart& part : parts_)
        if (part.step == step) ranks->start(pass.g + part.range.from, part.range.count());
    ranks->progress();
}

template <class T> void Engine<T>::compute_loss(const Pass<T>& pass, bool weighted) {
    const Value<T>& out = at(prediction_);
    const Range r = pass.rows(out, library_->width());
    LossBatch<T> batch;
    batch.samples = r.count();
    batch.outputs = out.width;
    batch.target_width = target_width_;
    batch.classes = by_class_;
    batch.z = out.value + r.from * out.ld;
    batch.z_ld = batch.dz_ld = out.ld;
    batch.dz = out.gradient + r.from * out.ld;
    batch.target = targets_.data() + r.from * target_width_;
    batch.weight = weighted ? weights_.data() + r.from : nullptr;
    batch.whole = T(pass.whole * out.rows);
    batch.losses = losses_.data() + r.from;
    batch.scratch = pass.scratch;
    if (!loss_->compute(batch)) invalid_ = true;
}

template <class T> double Engine<T>::mean_loss(long samples) const {
    double total = ranks ? agreed_[0] : 0;
    for (long i = 0; !ranks && i < samples * positions(); ++i) total += losses_[size_t(i)];
    return total / double(samples * positions());
}

// Samples

template <class T> void Engine<T>::read_samples(const Pass<T>& pass, const Data& data, long from) {
    const Range r = pass.share(pass.samples, 1);
    const Value<T>& input = values_[0];
    if (fits_) {
        locate(data.x, data.order, from, r);
        if (!in_place_)
            library_->gather(r.count(), input.width, sample_rows_.data() + r.from, input.value + r.from * input.ld,
                            input.ld);
    } else gather(data.x, data.order, from, r, input.rows, input.width, input.ld, input.value);
    if (!trains_ || !pass.training) return;
    gather(data.y, data.order, from, r, 1, target_size(), target_size(), targets_.data());
    if (data.weight.data) gather_weights(data, from, r);
}

// A sample's weight is that of all its positions; weights of positions are shares of their sum.
template <class T> void Engine<T>::gather_weights(const Data& data, long from, Range r) {
    const long count = data.weight.size, rows = positions();
    T* const to = weights_.data();
    gather(data.weight, data.order, from, r, 1, count, rows, to);
    for (long i = r.from; i < r.to && rows > 1; ++i) {
        T* const own = to + i * rows;
        if (count == 1) std::fill(own, own + rows, own[0]);
        else {
            T total = 0;
            for (long k = 0; k < rows; ++k) total += own[k];
            for (long k = 0; k < rows; ++k) own[k] = total > 0 ? own[k] * T(rows) / total : T(0);
        }
    }
}

template <class T>
void Engine<T>::gather(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
                       T* to) {
    switch (table.type) {
        case Dtype::float32: return gather_as<float>(table, order, from, r, rows, width, ld, to);
        case Dtype::float64: return gather_as<double>(table, order, from, r, rows, width, ld, to);
        case Dtype::uint8: return gather_as<uint8_t>(table, order, from, r, rows, width, ld, to);
        case Dtype::int32: return gather_as<int32_t>(table, order, from, r, rows, width, ld, to);
        case Dtype::int64: return gather_as<int64_t>(table, order, from, r, rows, width, ld, to);
    }
}

// Sets the addresses of the samples only.
template <class T> void Engine<T>::locate(const SampleArray& table, const int64_t* order, long from, Range r) {
    for (long i = r.from; i < r.to; ++i) {
        int64_t row = order ? order[from + i] : from + i;
        if (row < 0 || row >= table.count) {
            invalid_ = true;
            row = 0;
        }
        sample_rows_[size_t(i)] = reinterpret_cast<const T*>(table.data + row * table.stride);
        // Prefetches the next mini-batch's samples, if they are small.
        const long next = from + i + (r.to - r.from);
        if (order && threads_ == 1 && next < rows_ && table.size * long(sizeof(T)) <= SMALL) {
            const char* ahead = table.data + order[next] * table.stride;
            for (long at = 0; at < table.size * long(sizeof(T)); at += 64) __builtin_prefetch(ahead + at);
        }
    }
}

template <class T>
template <class S>
void Engine<T>::gather_as(const SampleArray& table, const int64_t* order, long from, Range r, long rows, long width, long ld,
               T* to) {
    for (long i = r.from; i < r.to; ++i) {
        const int64_t row = order ? order[from + i] : from + i;
        if (row < 0 || row >= table.count) {
            invalid_ = true;
            continue;
        }
        const S* sample = reinterpret_cast<const S*>(table.data + row * table.stride);
        T* into = to + i * rows * ld;
        for (long k = 0; k < rows; ++k, sample += width, into += ld)
            for (long j = 0; j < width; ++j) into[j] = T(sample[j]);
    }
}

template class Engine<float>;
template class Engine<double>;

}  // namespace chainrule
