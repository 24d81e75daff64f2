{#- A time out of text that counts seconds since 1970, fractions allowed; null where it is no number
    or lies before 2000 or after 2099, so that a clock that was never set has no year 1970. -#}
{%- macro game_timestamp(text) -%}
    case
        when try_cast({{ text }} as decimal(20, 6)) between 946684800 and 4102444799
            then timestamp_micros(cast(try_cast({{ text }} as decimal(20, 6)) * 1000000 as bigint))
    end
{%- endmacro -%}
