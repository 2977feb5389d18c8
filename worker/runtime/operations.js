/*
 * Operations: what a handler asks of the front while it runs (common/operations.def).
 * C sends them and calls answered(); who asked goes on with one of two functions,
 * called outside of any promise's machinery.
 *
 * So many are under way at a time, the others wait here: a worker with more is
 * taken for a broken one.
 */
(function (own) {
	'use strict';

	var MAX = 64;				/* TN_OPERATIONS_PENDING_MAX */
	var Failure = Error;
	var asked = own.create(null);		/* number -> what to do with the answer */
	var pending = 0;
	var later = own.list();			/* not sent yet: [from, to) */
	var from = 0;
	var to = 0;

	function send(o) {
		var number = own.host.operate(o.kind, o.texts);

		if (number === 0)
			throw new Failure('Operation too large: more than 1048576 bytes');
		o.texts = null;
		asked[number] = o;
		pending++;
	}

	function sendLater() {
		var o;

		while (pending < MAX && from < to) {
			o = later[from];
			delete later[from++];
			try {
				send(o);
			} catch (e) {
				o.fail(e);
			}
		}
	}

	/*
	 * Ask: done(texts) with a list of texts, or fail(error).  Throws when it cannot
	 * be sent.  `texts` is an own.list() of strings.
	 */
	own.operate = function (kind, texts, done, fail) {
		var o = own.create(null);

		o.kind = kind;
		o.texts = texts;
		o.done = done;
		o.fail = fail;
		if (pending < MAX)
			send(o);
		else
			later[to++] = o;
	};

	own.operations = function () {
		return pending;
	};

	/* From C; an error thrown by who asked would be lost in there. */
	own.answered = function (number, done, texts) {
		var o = asked[number];

		if (o === undefined)
			return;
		delete asked[number];
		pending--;
		try {
			if (done)
				o.done(texts);
			else
				o.fail(new Failure(texts[0]));
			sendLater();
		} catch (e) {
			own.uncaught(e);
		}
	};

	own.onBegin(function () {
		if (pending === 0 && to === 0)
			return;
		asked = own.create(null);
		pending = 0;
		later = own.list();
		from = to = 0;
	});
})(__host.own);
