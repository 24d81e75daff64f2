{#- The value of a field out of its text, by the type that the contract gives it; null where the
    text is none of that type. -#}
{%- macro game_value(text, type) -%}
    {%- if type == 'integer' -%}
        try_cast({{ text }} as bigint)
    {%- elif type == 'number' -%}
        -- neither NaN nor infinite: Spark orders these above every number
        case
            when try_cast({{ text }} as double) between -1e300 and 1e300
                then try_cast({{ text }} as double)
        end
    {%- elif type == 'boolean' -%}
        try_cast({{ text }} as boolean)
    {%- elif type == 'timestamp' -%}
        {{ game_timestamp(text) }}
    {%- else -%}
        {{ text }}
    {%- endif -%}
{%- endmacro -%}
