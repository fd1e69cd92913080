import { expect, it } from 'vitest';
import type { Incident, LossRow } from '../../api/types';
import { incidentOf } from './rows';

const row = (id: string, verdict: string) =>
  ({ id, pipeline: id, where: 'enrich', class: '', verdict }) as unknown as LossRow;
const incident = (id: string, edge: string, still: boolean) =>
  ({ id, still, row: { id: edge } }) as unknown as Incident;

it('leads to the incident that goes on, else to the newest', () => {
  const all = [
    incident('3', 'a', false),
    incident('2', 'a', true),
    incident('1', 'b', false),
    incident('0', 'b', false),
  ];
  expect(incidentOf(row('a', 'LOSS'), all)?.id).toBe('2');
  expect(incidentOf(row('b', 'LOSS'), all)?.id).toBe('1');
  expect(incidentOf(row('c', 'OK'), all)).toBeUndefined();
});
