{#- One row per player_registered event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('player_registered', [
        {'name': 'method', 'type': 'string', 'required_from': 1,
         'values': ['guest', 'email', 'platform_account']},
        {'name': 'country', 'type': 'string', 'column': 'event_country'},
    ])
}}
