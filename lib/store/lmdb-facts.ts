import type { LmdbStore } from './lmdb-store.js';

/** Sizes of a store's file. */
export interface StoreFacts {
  readonly fileBytes: number;
  /** Pages of the file that hold nothing and are used before it grows. */
  readonly freePages: number;
  readonly pageBytes: number;
  /** Transactions written since the file was made. */
  readonly transactions: number;
}

interface TreeFacts {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface EnvironmentFacts {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly lastTxnId: number;
  readonly root: TreeFacts;
  readonly free: TreeFacts;
}

/** Pages with the heads of the environment. */
const metaPages = 2;

/** Reads the sizes from LMDB's heads: no page of the data is looked at. */
export function lmdbFacts({ environment }: LmdbStore): StoreFacts {
  const head = environment.root.getStats() as EnvironmentFacts;
  const pages = head.lastPageNumber + 1;
  const trees = environment.tables.map((table) => table.getStats() as TreeFacts);
  const used = [head.root, head.free, ...trees].reduce((sum, tree) => sum + pagesOf(tree), metaPages);
  return {
    fileBytes: pages * head.pageSize,
    freePages: Math.max(0, pages - used),
    pageBytes: head.pageSize,
    transactions: head.lastTxnId,
  };
}

function pagesOf({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeFacts): number {
  return treeBranchPageCount + treeLeafPageCount + overflowPages;
}
