/*
 * Duktape's Reflect.get and Reflect.set throw "unsupported" when the receiver is
 * another object, and core-js takes what exists for good: so let it not exist.
 */
(function () {
	'use strict';

	delete Reflect.get;
	delete Reflect.set;
})();
