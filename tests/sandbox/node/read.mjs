// Reads a sandbox with the official Node client and writes what it saw as JSON.
//
// Arguments: one JSON object {host, key, secret, queries: [...]}, each query in the client's own
// spelling (accountId, dateStart, ...). A query's pages are followed by cursor and iv.
import { Auth } from '@vonage/auth';
import { Direction, Product, Reports } from '@vonage/reports';

const { host, key, secret, queries } = JSON.parse(process.argv[2]);
const client = new Reports(new Auth({ apiKey: key, apiSecret: secret }), { apiHost: host });

const read = async (query) => {
  const pages = [];
  try {
    let page = {};
    do {
      const following = page.cursor ? { cursor: page.cursor, iv: page.iv } : {};
      page = await client.getRecords({ ...query, ...following });
      pages.push({
        status: page.requestStatus,
        count: page.itemsCount,
        next: page.links.next?.href ?? null,
        missing: page.idsNotFound ?? null,
        records: page.records,
      });
    } while (page.requestStatus === 'TRUNCATED');
    return { pages };
  } catch (error) {
    const { status, headers } = error.response;
    return {
      pages,
      error: { status, type: headers.get('content-type'), body: await error.response.json() },
    };
  }
};

const answers = [];
for (const query of queries) {
  answers.push(await read(query));
}
process.stdout.write(
  JSON.stringify({ products: Object.values(Product), directions: Object.values(Direction), answers }),
);
