// What a contract finds when it runs in tana-edge.
/// <reference path="globals.d.ts" />
/// <reference path="modules.d.ts" />
