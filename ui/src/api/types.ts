// Names for the answers of the API, generated from query/answer through the OpenAPI document.
import type { components } from './schema';

type S = components['schemas'];

export type Now = S['Now'];
export type Pipelines = S['Pipelines'];
export type PipelineRow = S['PipelineRow'];
export type Pipeline = S['Pipeline'];
export type PipelineHistory = S['PipelineHistory'];
export type Series = S['Series'];
export type FlowNode = S['Node'];
// The generator cannot see that a Go pointer to a struct may be null.
export type Edge = Omit<S['Edge'], 'lag'> & { lag?: S['Lag'] | null };
export type Lag = S['Lag'];
export type StageRow = S['StageRow'];
export type PartitionRow = S['PartitionRow'];
export type Change = S['Change'];
export type Loss = S['Loss'];
export type LossRow = S['LossRow'];
export type LossDetail = S['LossDetail'];
export type LossWindow = S['LossWindow'];
export type RibbonCell = S['RibbonCell'];
export type Traces = S['Traces'];
export type TraceRow = S['TraceRow'];
export type Trace = S['Trace'];
export type SpanRow = S['SpanRow'];
export type Self = S['Self'];
export type DoorRow = S['DoorRow'];
export type CollectorRow = S['CollectorRow'];
export type StoreRow = S['StoreRow'];
export type Alerts = S['Alerts'];
export type Alert = S['Alert'];
export type Completeness = S['Completeness'];

/** Go writes an empty list as null, and a merge patch removes nulls. */
export const list = <T>(v: readonly T[] | null | undefined): readonly T[] => v ?? [];
