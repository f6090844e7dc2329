// Gets a report from a sandbox with the official Node client and writes what it saw as JSON.
//
// Arguments: one JSON object {host, key, secret, query, path}: the query in the client's own spelling, and
// where the archive is to go. The client downloads from Vonage's own hosts alone, so a link to them is
// taken to the sandbox underneath it.
import { Auth } from '@vonage/auth';
import { Reports } from '@vonage/reports';

const { host, key, secret, query, path } = JSON.parse(process.argv[2]);
const client = new Reports(new Auth({ apiKey: key, apiSecret: secret }), { apiHost: host });

const { fetch } = globalThis;
globalThis.fetch = (url, options) => fetch(url.replace('https://api.nexmo.com', host), options);

const refused = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { status: error.response.status, body: await error.response.json() };
  }
};

const states = [await client.createReport(query)];
const id = states[0].requestId;
while (['PENDING', 'PROCESSING'].includes(states.at(-1).requestStatus)) {
  states.push(await client.getReport(id));
}
await client.getReportData(id, path);

const unwanted = await client.createReport(query);
const cancelled = await client.cancelReport(unwanted.requestId);

const errors = [
  await refused(() => client.cancelReport(unwanted.requestId)),
  await refused(() => client.getReport('nothing')),
  await refused(() => client.createReport({ ...query, product: 'NOTHING' })),
];
process.stdout.write(JSON.stringify({ states, cancelled, errors }));
