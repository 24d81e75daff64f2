{#- When an event happened, out of the columns of game_envelope. -#}
{%- macro game_event_at() -%}
    case
        when not coalesce(is_clock_wrong, false) then coalesce(client_at, received_at)
        when client_at is null or sent_at is null then received_at
        else
            timestamp_micros(
                unix_micros(client_at) + unix_micros(received_at) - unix_micros(sent_at)
            )
    end
{%- endmacro -%}
