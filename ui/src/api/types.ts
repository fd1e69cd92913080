// Names for the answers of the API, generated from query/answer through the OpenAPI document.
import type { components } from './schema';

type S = components['schemas'];

export type Now = S['Now'];
export type Pipelines = S['Pipelines'];
export type PipelineRow = S['PipelineRow'];
// The generator cannot see that a Go pointer to a struct may be null.
type Nullable<T, K extends keyof T> = Omit<T, K> & { [P in K]?: T[P] | null };
export type Span = S['Span'];
export type Change = S['Change'];
export type Cause = Nullable<S['Cause'], 'before'>;
export type Forecast = Nullable<S['Forecast'], 'drain' | 'loss_in'>;
export type Pipeline = Omit<S['Pipeline'], 'cause' | 'forecasts'> & {
  cause?: Cause | null;
  forecasts: Forecast[] | null;
};
export type PipelineHistory = S['PipelineHistory'];
export type Series = S['Series'];
export type FlowNode = S['Node'];
export type Edge = Nullable<S['Edge'], 'lag'>;
export type Lag = S['Lag'];
export type StageRow = S['StageRow'];
export type PartitionRow = S['PartitionRow'];
export type PathLatency = S['PathLatency'];
export type StageInput = Omit<Nullable<S['StageInput'], 'lag'>, 'forecast'> & { forecast: Forecast };
export type StagePage = Omit<S['StagePage'], 'cause' | 'inputs'> & {
  cause?: Cause | null;
  inputs: StageInput[] | null;
};
export type ContainerRow = S['ContainerRow'];
export type VersionRow = S['VersionRow'];
export type Dependency = S['Dependency'];
export type WhatIf = Omit<S['WhatIf'], 'base' | 'changed'> & { base: Forecast; changed: Forecast };
export type PartitionHeat = S['PartitionHeat'];
export type Groups = S['Groups'];
export type GroupRow = S['GroupRow'];
export type Hits = S['Hits'];
export type Hit = S['Hit'];
export type Incidents = S['Incidents'];
export type Incident = S['Incident'];
export type IncidentDetail = S['IncidentDetail'];
export type Annotations = S['Annotations'];
export type Annotation = S['Annotation'];
export type PipelineConfig = S['PipelineConfig'];
export type ConfigFinding = S['ConfigFinding'];
export type ConfigCheck = S['ConfigCheck'];
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
