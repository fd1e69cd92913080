import { Go } from '../components/link';

export function Lost() {
  return (
    <section className="card state-box">
      <h1>No such page</h1>
      <p className="mut">The address names nothing weir has.</p>
      <Go to="/pipelines" className="btn">
        All pipelines
      </Go>
    </section>
  );
}
