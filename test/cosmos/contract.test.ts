// The contract of Cosmos DB, on the local server or on an account (cosmos-targets.ts).
import { describe } from 'vitest';
import { batchClaims, claimsFor, itemClaims } from '../contract/cosmos.contract.ts';
import { accountClaims } from '../contract/cosmos-account.contract.ts';
import { changeClaims } from '../contract/cosmos-change.contract.ts';
import { feedClaims } from '../contract/cosmos-feed.contract.ts';
import { languageClaims } from '../contract/cosmos-language.contract.ts';
import { queryClaims } from '../contract/cosmos-query.contract.ts';
import { rangeClaims } from '../contract/cosmos-range.contract.ts';
import { open, skip } from '../contract/cosmos-targets.ts';

const claim = claimsFor({ open, skip });

describe('items', () => itemClaims(claim));
describe('batch', () => batchClaims(claim));
describe('changes', () => changeClaims(claim));
describe('queries', () => queryClaims(claim));
describe('query language', () => languageClaims(claim));
describe('partition key ranges', () => rangeClaims(claim));
describe('change feed', () => feedClaims(claim));
describe('databases, containers, throughput', () => accountClaims(claim));
