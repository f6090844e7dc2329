// Reads the accounts of a sandbox with the official Node client and writes what it saw as JSON.
//
// Arguments: one JSON object {host, key, secret, one, unknown}: a sub-account's key, and one of no sub-account.
import { Auth } from '@vonage/auth';
import { SubAccounts } from '@vonage/subaccounts';

const { host, key, secret, one, unknown } = JSON.parse(process.argv[2]);
const client = new SubAccounts(new Auth({ apiKey: key, apiSecret: secret }), { apiHost: host });

const seen = async (call) => {
  try {
    return await call();
  } catch (error) {
    return { status: error.response.status, body: await error.response.json() };
  }
};

process.stdout.write(
  JSON.stringify({
    primary: await seen(() => client.getPrimaryAccount()),
    subaccounts: await seen(() => client.listSubAccounts()),
    one: await seen(() => client.getSubAccount(one)),
    unknown: await seen(() => client.getSubAccount(unknown)),
  }),
);
