-- One row per currency of the game and day: what players earned and spent, and wrong balances.
select
    currency,
    changed_on,
    players,
    earned,
    spent,
    net,
    broken_balances,
    unexplained_balances
from gold.economy_balance
where game_id = getvariable('game')
order by changed_on desc, currency
limit 42
