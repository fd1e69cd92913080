import { list, type StagePage } from '../../api/types';
import { type Fact, Facts } from '../../components/facts';
import { Meter } from '../../components/meter';
import { count, DASH, duration, rate, spanDuration } from '../../lib/format';

/** In, out, and how hard it works, in a line of figures. */
export function Figures({ data }: { data: StagePage }) {
  const { node, row } = data;
  const outputs = list(data.outputs);
  const facts: Fact[] = [
    { name: 'In', value: node.in == null ? '?' : `${rate(node.in)}/s` },
    {
      name: 'Out',
      value: node.out == null ? '?' : `${rate(node.out)}/s`,
      more: outputs.length > 0 ? `to ${outputs.join(', ')}` : '',
    },
    { name: 'Busy', value: <Meter share={data.busy} label="share of the time it works" /> },
    { name: 'Output blocked', value: <Meter share={data.pressure} warn={0.1} label="share of the time" /> },
    {
      name: 'Takes, p99',
      value: row?.p99 == null ? DASH : spanDuration(row.p99),
      more: row?.p50 == null ? '' : `p50 ${spanDuration(row.p50)}`,
    },
    { name: 'Age of the data', value: duration(node.age) },
    { name: 'Watermark behind', value: duration(data.watermark) },
    { name: 'Instances', value: count(node.instances) },
  ];
  return <Facts facts={facts} label="In figures" className="card line" />;
}
