// The chain as a handler sees it, and a transfer that is staged, not executed:
// what a request stages and does not execute is gone when it ends.
import { block } from "tana/block";
import { Request, Response } from "tana/net";
import { tx } from "tana/tx";

interface Transfer {
	from?: string;
	to?: string;
	amount?: number;
	currency?: string;
}

export function get() {
	return {
		height: block.height,
		timestamp: block.timestamp,
		hash: block.hash,
		previousHash: block.getPreviousHash(),
		executor: block.executor,
		contractId: block.contractId,
		gasLimit: block.gasLimit,
	};
}

export async function post(req: Request, { from = "", to = "", amount = 0, currency = "USD" }: Transfer) {
	try {
		tx.transfer(from, to, amount, currency);
	} catch (e) {
		return Response.json({ error: (e as Error).message }, 422);
	}
	const staged = tx.getChanges();

	if (req.query.dry !== undefined)
		return { staged };
	return { staged, result: await tx.execute() };
}
