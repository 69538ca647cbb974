// What is sent and kept, for whoever reads the other modules (and for tsc).

/**
 * @typedef {{kind: string, name: string, samples: number, noise: number, seed: number, features: string[],
 *   points: [number, number, number][]}} DataSettings
 * @typedef {{units: number, activation: string, weights: string, dropout: number}} LayerSettings
 * @typedef {{data: DataSettings, layers: LayerSettings[], network: string, output_weights: string, loss: string, optimizer: string,
 *   learning_rate: number, options: [string, number][], clip: number, schedule: string, batch_size: number, epochs: number, l1: number, l2: number,
 *   seed: number}} Settings
 * @typedef {{name: string, start: number, shape: number[]}} ParameterInfo
 * @typedef {{name: string, kind: string, symbol: string, units: number, parameters: ParameterInfo[]}} LayerInfo
 * @typedef {{layer: string, distribution: string, widest: number, drawn: number[], density: number[]}} Draw
 * @typedef {{type: "built", layers: LayerInfo[], task: string, classes: string[], target: string, data: string,
 *   inputs: number[], input_names: string[], plane: boolean, extent: number, samples: [number, number], measured: number, loss: string,
 *   maps: MapRow[], sequence: SequenceInfo | null, network: string, loss_formula: string, optimizer: string[], weights: number, last_step: number | null, threshold: number | null, scene: boolean, drawable: boolean, steps_per_epoch: number,
 *   draws: Draw[]}} Built
 * @typedef {{counts: number[], low: number, high: number}} Histogram
 * @typedef {{type: "frame", step: number, epoch: number, phase: string, layer: string | null,
 *   edits?: [number, string, number][], batch_loss: number | null, loss: number | null, held?: Record<string, number | null>,
 *   held_targets?: ({name: string} & Record<string, number | null>)[],
 *   unit_scale?: number, gradient_sizes?: Record<string, number>, values?: Record<string, number[]>, deltas?: Record<string, number[]>,
 *   histogram?: Record<string, any>}} Frame
 * @typedef {Float32Array | Uint8Array} Numbers
 * @typedef {{data: Numbers, shape: number[]}} NamedArray
 * @typedef {Record<string, NamedArray>} Arrays
 * @typedef {{planes: Record<string, string>, builtin: Record<string, string>, sequences: Record<string, {about: string, settings: any}>, features: string[], extent: number,
 *   activations: string[], distributions: string[], losses: Record<string, string[]>, optimizers: Record<string, Record<string, number>>,
 *   schedules: string[], compared: {usual: string[], others: string[]}, defaults: Settings, first: Settings, lessons: Lesson[],
 *   surface: boolean, given: {name: string, target: string} | null,
 *   run: {name: string, steps: number} | null}} Choices
 * @typedef {{name: string, settings: any, steps?: number, speed?: number}} Try
 * @typedef {{id: string, name: string, words: string, question: string, answers: string[], right: number, why: string, settings: any,
 *   todo: {words: string, goal: Record<string, any>}[], open?: string, tries?: Try[], chart?: "loss" | "both" | "sizes" | "path" | "drawn",
 *   by_hand?: {unit: string, tolerance: number}, hint?: string, edits?: [number, string, number][]}} Lesson
 * @typedef {{unit: string, name: string, value: number, value_text: string, raw: number | null}} SceneInput
 * @typedef {{unit: string, at: number, z: number, z_line?: string, delta: number, delta_line?: string, a?: number, a_line?: string,
 *   slope?: number, upstream?: number}} SceneUnit
 * @typedef {{name: string, activation: string, is_output: boolean, units: SceneUnit[], plot: {z: number[], a: number[]} | null}} SceneLayer
 * @typedef {{weight: string, layer: string, from: number | null, to: number, value: number, value_text: string,
 *   gradient: number, gradient_line?: string, next: number, next_line?: string, forward: number | null,
 *   backward: number | null}} SceneWeight
 * @typedef {{loss: number, bars: boolean, batch_loss: number, batch_loss_after: number | null, samples: number, predictions: number[], targets: number[],
 *   errors: number[], names: string[], target_text: string, prediction_line?: string, loss_line?: string,
 *   decided?: string, decision_text?: string, in_use?: {predictions: number[], names: string[], bars: boolean, decided?: string}}} SceneOutput
 * @typedef {{picture: [number, number], kernel: [number, number], map: [number, number], pooled: [number, number], pooling: "max" | "mean",
 *   conv: string, pool: string, patches: number[][], windows: number[][], winners: number[] | null, unit: string, weight: string}} Convolution
 * @typedef {{name: string, layers: string[], shape: number[], kernels: string | null,
 *   reads: {row: number, axes: number[][][] | null, alone: boolean}[]}} MapRow
 * @typedef {{channels: number[], others: number, largest: number, text: string}} MapChannels
 * @typedef {{type: "maps", step: number, phase: string, reached: string[], rows: number[], numbers: number[], sample: number, chosen?: number | null, chosen_row?: number,
 *   maps: {values: MapChannels, slopes: MapChannels}[], output: SceneOutput, table: [string, string][], picture: null}} MapsMessage
 * @typedef {{name: string, weights: string, shape: [number, number, number], causal: boolean, width: number}} AttentionInfo
 * @typedef {{name: string, cell: string, rows: string[], units: number, gates: number, times: number[], state: string,
 *   nodes: Record<string, string[]>, recurrent: string[]}} ScanInfo
 * @typedef {{attention: AttentionInfo[], scans: ScanInfo[], text: boolean, symbols: string[]}} SequenceInfo
 * @typedef {{name: string, value: number | null, target?: string, p?: number, likeliest?: string, likeliest_p?: number, counts?: boolean}} SequencePosition
 * @typedef {{units: number[], others: number, largest: number[], factor: number | null, lines: string[][][], back_lines: string[]}} ScanNumbers
 * @typedef {{type: "sequence", step: number, phase: string, reached: string[], rows: number[], numbers: number[], sample: number, chosen?: number | null, chosen_row?: number, output: SceneOutput,
 *   table: [string, string][], picture: null, positions: SequencePosition[], valid: number, maps: number, scans: ScanNumbers[]}} SequenceMessage
 * @typedef {{count: number, sum: number}} LeftOut
 * @typedef {{unit: string, of_inputs: boolean, reads?: LeftOut, feeds?: LeftOut}} Focus
 * @typedef {{name: string, values: number[], deltas: number[] | null}} Strip
 * @typedef {{type: "scene", step: number, phase: string, reached: string[], rows: number[], numbers: number[], sample: number, chosen?: number | null, chosen_row?: number,
 *   inputs: SceneInput[], layers: SceneLayer[], weights: SceneWeight[], output: SceneOutput,
 *   table: [string, string][], focus: Focus | null, strips: Strip[], picture: {shape: [number, number], ink: number[]} | null,
 *   largest?: {values: number, deltas: number}, convolution?: Convolution}} Scene
 * @typedef {{picture: {shape: [number, number], ink: number[]}, classes: string[], predictions: number[], predicted: string, label: string | null,
 *   loss: number | null, loss_line: string | null, slopes: number[] | null}} OwnView
 * @typedef {{type: "slice", weight: string, step: number, value: number, loss: number, gradient: number, next: number,
 *   next_loss: number, values: number[], losses: number[], words: string, step_words: string}} Slice
 * @typedef {{unit: string, step: number, row: number, number: number, samples: number, position: number[], called: string, label: string, patch: string, multiplied: {lines: string[], weights: {name: string, weight: string}[]} | null, delta: number, delta_in_mean: number, levels: string,
 *   inputs: {name: string, of: string, input: number, weight: number, product: number}[], others?: number, rest?: number,
 *   bias?: number | null, z?: number,
 *   outputs: {layer?: string, low: number, high: number, counts: number[], here: number, zero: number}}} UnitView
 */

export {};
