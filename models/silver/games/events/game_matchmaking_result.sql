{#- One row per matchmaking_result event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('matchmaking_result', [
        {'name': 'mode', 'type': 'string', 'required_from': 1},
        {'name': 'wait_s', 'type': 'number', 'required_from': 1},
        {'name': 'outcome', 'type': 'string', 'required_from': 1,
         'values': ['matched', 'cancelled', 'timed_out']},
        {'name': 'reason', 'type': 'string'},
    ])
}}
