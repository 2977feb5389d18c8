<?php
// The same work as work.js, for php-fpm.
function hello()
{
	return ['message' => 'Hello, world!'];
}

function json($text)
{
	$by = [];
	foreach (json_decode($text)->orders as $order) {
		$name = $order->customer;
		if (!isset($by[$name]))
			$by[$name] = ['customer' => $name, 'orders' => 0, 'cents' => 0, 'tags' => []];
		$total = 0;
		foreach ($order->items as $item)
			$total += $item->count * $item->cents;
		$by[$name]['orders']++;
		$by[$name]['cents'] += $total;
		foreach ($order->tags as $tag)
			$by[$name]['tags'][$tag] = ($by[$name]['tags'][$tag] ?? 0) + 1;
	}
	$rows = array_values($by);
	usort($rows, fn($a, $b) => $b['cents'] <=> $a['cents'] ?: strcmp($a['customer'], $b['customer']));
	return ['customers' => $rows];
}

function compute()
{
	$size = 96;
	$most = 60;
	$inside = $steps = 0;
	for ($y = 0; $y < $size; $y++)
		for ($x = 0; $x < $size; $x++) {
			$re = $x * 3 / $size - 2;
			$im = $y * 2 / $size - 1;
			$a = $b = 0;
			for ($i = 0; $i < $most && $a * $a + $b * $b <= 4; $i++) {
				$t = $a * $a - $b * $b + $re;
				$b = 2 * $a * $b + $im;
				$a = $t;
			}
			$steps += $i;
			if ($i === $most)
				$inside++;
		}
	return ['inside' => $inside, 'steps' => $steps];
}

switch (strtok($_SERVER['REQUEST_URI'], '?')) {
case '/body':
	header('Content-Type: text/plain');
	echo file_get_contents('php://input');
	exit;
case '/json':
	$answer = json(file_get_contents('php://input'));
	break;
case '/compute':
	$answer = compute();
	break;
default:
	$answer = hello();
}
header('Content-Type: application/json');
echo json_encode($answer);
